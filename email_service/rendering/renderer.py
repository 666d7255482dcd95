"""Turns a template and its variables into subject, html and text, together and in a sandbox with bounds.

Knows the bounds of a mail and the sentence of a failure; knows no message, no recipient and no network, and never
compiles a variable.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from jinja2.exceptions import SecurityError, TemplateError, TemplateNotFound

from email_service.kernel.errors import RenderingError
from email_service.rendering.catalog import STYLE, Catalog
from email_service.rendering.files import Files
from email_service.rendering.style_sheet import StyleSheet
from email_service.rendering.variables import Brand, clean, harden, unlink
from email_service.rendering.ways import FAILURES, Ways

__all__ = ["Brand", "Rendered", "Renderer"]

SUBJECT_LIMIT: Final = 400
HTML_LIMIT: Final = 500_000
TEXT_LIMIT: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One message's words. `version` and `locale` say which template wrote them."""

    subject: str
    html: str
    text: str
    version: str
    locale: str


class Renderer:
    """Renders any template of the catalog; one for the whole process, and every thread may use it."""

    def __init__(self, files: Files, catalog: Catalog, brand: Brand) -> None:
        self._files = files
        self._catalog = catalog
        self._brand = brand.as_variables()
        self._sheet = StyleSheet(files.text(STYLE))
        self._ways: dict[str, Ways] = {}

    def prepare(self) -> None:
        """Compile every template once, so that no reader has to wait for it; a broken one says so when it is used."""
        for template in self._catalog:
            with suppress(RenderingError):
                self.render(template.name, template.sample_variables)

    def render(
        self, name: str, variables: Mapping[str, Any], locale: str | None = None, unsubscribe_url: str | None = None
    ) -> Rendered:
        """Subject, html and text from one template in one locale. Raises TemplateUnknownError or RenderingError."""
        template = self._catalog.get(name)
        chosen = template.pick_locale(locale)
        ways = self._find_ways(chosen)
        path, html_path, text_path = template.parts(chosen)
        try:
            context, unlinked = harden(variables, template.variables_schema)
            fixed = {"unsubscribe_url": unsubscribe_url}
            subject = _one_line(ways.write(path, context | fixed, SUBJECT_LIMIT))
            context = unlinked | fixed | {"subject": unlink(subject, {})}
            path = html_path
            html = ways.write(path, context, HTML_LIMIT)
            _check_size(html, HTML_LIMIT)
            path = text_path
            text = ways.write(path, context, TEXT_LIMIT)
            _check_size(text, TEXT_LIMIT)
        except FAILURES as error:
            raise RenderingError(
                f"The template {name!r} cannot be rendered: {ways.find_place(error, path)}: {_reason(error)}."
            ) from error
        return Rendered(subject=subject, html=html, text=text, version=template.version, locale=chosen)

    def _find_ways(self, locale: str) -> Ways:
        """Made when the first reader of this language comes; two threads may both make them, and one is kept."""
        if locale not in self._ways:
            language = self._catalog.words.speak(locale)
            self._ways.setdefault(locale, Ways(self._files, self._brand, self._sheet, language))
        return self._ways[locale]


def _reason(error: Exception) -> str:
    match error:
        case TemplateNotFound():
            return f"there is no file {error.name}"
        case RecursionError():
            return "it calls itself without end"
        case UnicodeEncodeError():
            return "it holds a lone surrogate code point, which no mail can carry"
        case TemplateError() | ArithmeticError() | TypeError():
            return str(error).partition("\n")[0].rstrip(".")
    # Other errors may quote a variable's value, which may be a secret.
    return f"a value does not fit there ({type(error).__name__})"


def _one_line(text: str) -> str:
    """A header's value: one line, without controls, and not empty (RFC 5322 2.2)."""
    line: str = " ".join(clean(text, {}).split())
    if not line:
        raise SecurityError("the subject is empty")
    _check_size(line, SUBJECT_LIMIT * 4)
    return line


def _check_size(text: str, limit: int) -> None:
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise SecurityError(f"it comes to {size} bytes and may have {limit}")
