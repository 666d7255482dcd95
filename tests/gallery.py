"""Every template that ships, in every locale, as its reader gets it. Knows no mail, no pytest and no browser.

Whatever the catalog has is here: a new template or locale is shown and checked without a change to this file.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from email_service.rendering import catalog
from email_service.rendering.catalog import Template
from email_service.rendering.files import Files
from email_service.rendering.renderer import Rendered, Renderer
from email_service.rendering.variables import Brand
from email_service.settings import resource

FILES = Files(resource("templates") / "email")
CATALOG = catalog.load(FILES)
RIGHT_TO_LEFT = ("ar", "fa", "he", "ur")
WIDTHS = (320, 600, 1024)
THEMES = ("light", "dark")
BRAND = Brand(
    name="Acme",
    frontend_url="https://app.acme.example",
    logo_url="https://app.acme.example/logo.png",
    support_email="help@acme.example",
    color="#1f4fd8",
)
UNSUBSCRIBE = "https://mail.acme.example/pages/unsubscribe?token=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw"
# Where a name on the brand's gradient stands in the place of the logo.
BANNER = replace(BRAND, logo_url=None, color_end="#7c3aed")


@dataclass(frozen=True, slots=True)
class Piece:
    """One template in one locale."""

    name: str
    locale: str

    def __str__(self) -> str:
        return f"{self.name}-{self.locale}"

    @property
    def template(self) -> Template:
        return CATALOG.get(self.name)

    def render(
        self, variables: dict[str, Any] | None = None, brand: Brand = BRAND, unsubscribe_url: str = UNSUBSCRIBE
    ) -> Rendered:
        """With the sample variables unless told otherwise; where nobody can unsubscribe, without a link to do so."""
        link = unsubscribe_url if self.template.can_unsubscribe else None
        values = self.template.sample_variables if variables is None else variables
        return _renderer(brand).render(self.name, values, self.locale, link)

    def least_variables(self) -> dict[str, Any]:
        """Only what the template cannot do without."""
        return {name: self.template.sample_variables[name] for name in self.template.variables_schema["required"]}

    def widest_variables(self) -> dict[str, Any]:
        """The longest of everything, in words that no line can be broken at."""
        return _widest(self.template.variables_schema, self.template.sample_variables)


PIECES = tuple(Piece(template.name, locale) for template in CATALOG for locale in template.locales)
LOCALES = tuple(dict.fromkeys(piece.locale for piece in PIECES))


@cache
def _renderer(brand: Brand) -> Renderer:
    return Renderer(FILES, CATALOG, brand)


def _widest(schema: dict[str, Any], sample: Any) -> Any:
    """The longest that a schema lets in; where it sets no limit, the sample."""
    if schema.get("format") == "uri":
        return f"https://app.acme.example/{'W' * 300}"
    if "maxItems" in schema:
        return [_widest(schema["items"], sample[0] if sample else None)] * schema["maxItems"]
    if schema["type"] == "object":
        wide = {name: _widest(each, (sample or {}).get(name)) for name, each in schema["properties"].items()}
        return {name: value for name, value in wide.items() if value is not None}
    if schema["type"] == "string" and "maxLength" in schema:
        return "W" * schema["maxLength"]
    return schema.get("maximum", sample)
