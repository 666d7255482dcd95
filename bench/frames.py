"""The welcome template as other template languages write it: the service's own output, with the variables back in.

So a reference fills in the same words with the same loop and the same condition; styles stand in the tags beforehand,
as they do in the service's own templates once they are loaded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.rendering.renderer import Brand, Renderer
from email_service.settings import resource

NAME, STEP, BRAND, COLOR, SITE = "NAMEGOESHERE", "STEPGOESHERE", "BRANDGOESHERE", "#0a1b2c", "http://site.invalid"


@dataclass(frozen=True)
class Dialect:
    """How a template language writes what the frame needs."""

    condition: tuple[str, str]
    loop: tuple[str, str]
    item: str
    number: str

    def around(self, kind: tuple[str, str], inner: str) -> str:
        return f"{kind[0]}{inner}{kind[1]}"


HANDLEBARS = Dialect(
    ("{{#if next_steps}}", "{{/if}}"), ("{{#each next_steps}}", "{{/each}}"), "{{this}}", "{{place @index}}"
)
DJANGO = Dialect(
    ("{% if next_steps %}", "{% endif %}"),
    ("{% for step in next_steps %}", "{% endfor %}"),
    "{{ step }}",
    "{{ forloop.counter }}",
)


def brand() -> dict[str, str | None]:
    """The variables that the service gives to every template, with its default settings."""
    return Brand(name="Example App", color="#1f4fd8", frontend_url="http://localhost:3000").as_variables()


def write(dialect: Dialect) -> dict[str, str]:
    """`subject`, `html` and `text` of the welcome template in this language."""
    folder = resource("templates") / "email"
    marks = Brand(name=BRAND, color=COLOR, frontend_url=SITE)
    rendered = Renderer(Files(folder), catalog.load(Files(folder)), marks).render(
        "welcome", {"name": NAME, "next_steps": [STEP]}
    )
    html = _swap(rendered.html, r"<li[^>]*>STEPGOESHERE</li>\s*", lambda one: dialect.around(dialect.loop, one))
    html = _swap(html, r"<p[^>]*>A good way to begin:</p>.*?</ol>", lambda one: dialect.around(dialect.condition, one))
    text = _swap(
        rendered.text, r"1\. STEPGOESHERE\n", lambda one: dialect.around(dialect.loop, one.replace("1", dialect.number))
    )
    text = _swap(text, r"A good way to begin:.*\n(?=Get started)", lambda one: dialect.around(dialect.condition, one))
    parts = {"subject": rendered.subject, "html": html, "text": text}
    return {name: _fill(part, dialect) for name, part in parts.items()}


def _swap(text: str, pattern: str, change: Callable[[str], str]) -> str:
    changed, count = re.subn(pattern, lambda found: change(found[0]), text, flags=re.DOTALL)
    if count != 1:
        raise RuntimeError(
            f"The welcome template has changed: {pattern} is in it {count} times; adapt bench/frames.py."
        )
    return changed


def _fill(text: str, dialect: Dialect) -> str:
    marks = {
        NAME: "{{ name }}",
        STEP: dialect.item,
        BRAND: "{{ brand.name }}",
        COLOR: "{{ brand.color }}",
        SITE: "{{ brand.frontend_url }}",
    }
    for mark, variable in marks.items():
        text = text.replace(mark, variable)
    return text
