"""Turns a template and its variables into subject, html and text, together and in a sandbox with bounds.

Knows the ways from a template to its words, from the shortest to the plainest; knows no message, no recipient and no
network, and never compiles a variable.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from traceback import walk_tb
from typing import Any, Final

from jinja2.exceptions import SecurityError, TemplateError, TemplateNotFound, TemplateSyntaxError

from email_service.kernel.errors import RenderingError
from email_service.rendering.catalog import LAYOUT, Catalog
from email_service.rendering.folding import NotSimpleError
from email_service.rendering.markup import embed_styles
from email_service.rendering.sandbox import METHODS, Sandbox, SwiftSandbox
from email_service.rendering.style_sheet import StyleSheet
from email_service.rendering.variables import Brand, clean, harden, unlink

__all__ = ["Brand", "Rendered", "Renderer"]

SUBJECT_LIMIT: Final = 400
HTML_LIMIT: Final = 500_000
TEXT_LIMIT: Final = 200_000

_PIECES = 16  # of a part that are made between two looks at its size
_DOCTYPES = ("<!doctype html>", "<!DOCTYPE html>")

# Everything that a template's own code can raise; a template is data, so its mistakes are answers, not crashes.
_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


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

    def __init__(self, folder: Path, catalog: Catalog, brand: Brand) -> None:
        self._folder = folder
        self._catalog = catalog
        self._brand = brand.as_variables()
        style = folder / LAYOUT / "style.css"
        self._sheet = StyleSheet(style.read_text(encoding="utf-8") if style.is_file() else None)
        self._sandbox = Sandbox(folder, self._brand)
        swift = SwiftSandbox(folder, self._brand)
        styled = SwiftSandbox(folder, self._brand, partial(embed_styles, sheet=self._sheet, methods=METHODS))
        # Every way writes the same or fails; the last of each is the plainest and says what is wrong.
        self._ways = {
            ".html": (partial(_write_page, styled), partial(self._inline, swift), self._inline_plainly),
            ".txt": (partial(_write_swiftly, swift), self._write_plainly),
        }
        self._first_ways: dict[str, int] = {}

    def prepare(self) -> None:
        """Compile every template once, so that no reader has to wait for it; a broken one says so when it is used."""
        for template in self._catalog:
            with suppress(RenderingError):
                self.render(template.name, template.sample_variables)

    def render(self, name: str, variables: Mapping[str, Any], locale: str | None = None) -> Rendered:
        """Subject, html and text from one template in one locale. Raises TemplateUnknownError or RenderingError."""
        template = self._catalog.get(name)
        chosen = template.pick_locale(locale)
        fixed = {"brand": self._brand, "locale": chosen}
        path, html_path, text_path = template.parts(chosen)
        try:
            context, unlinked = harden(variables, template.variables_schema)
            subject = _one_line(self._write(path, ".txt", context | fixed, SUBJECT_LIMIT))
            context = unlinked | fixed | {"subject": unlink(subject, {})}
            path = html_path
            html = self._write(path, ".html", context, HTML_LIMIT)
            _check_size(html, HTML_LIMIT)
            path = text_path
            text = self._write(path, ".txt", context, TEXT_LIMIT)
            _check_size(text, TEXT_LIMIT)
        except _FAILURES as error:
            raise RenderingError(
                f"The template {name!r} cannot be rendered: {self._place(error, path)}: {_reason(error)}."
            ) from error
        return Rendered(subject=subject, html=html, text=text, version=template.version, locale=chosen)

    def _write(self, path: str, kind: str, context: dict[str, Any], limit: int) -> str:
        """Render one file by the shortest way that works, and begin with that way from then on."""
        ways = self._ways[kind]
        first = self._first_ways.get(path, 0)
        for number, way in enumerate(ways[first:-1], first):
            try:
                written = way(path, context, limit)
            except _FAILURES:
                continue
            self._first_ways[path] = number
            return written
        written = ways[-1](path, context, limit)
        self._first_ways[path] = len(ways) - 1
        return written

    def _inline(self, sandbox: Sandbox, path: str, context: dict[str, Any], limit: int) -> str:
        return self._sheet.inline(_write_swiftly(sandbox, path, context, limit))

    def _inline_plainly(self, path: str, context: dict[str, Any], limit: int) -> str:
        return self._sheet.inline(self._write_plainly(path, context, limit))

    def _write_plainly(self, path: str, context: dict[str, Any], limit: int) -> str:
        """Render one file, and stop it at the line where its output grows over the limit."""
        self._sandbox.meter.steps = self._sandbox.meter.work = 0
        stream = self._sandbox.get_template(path).generate(context)
        kept, size = [], 0
        for part in stream:
            size += len(part)
            if size > limit:
                stream.throw(SecurityError(f"it writes more than {limit} characters"))
            kept.append(part)
        return "".join(kept)

    def _place(self, error: Exception, path: str) -> str:
        if isinstance(error, TemplateSyntaxError):
            return f"{error.name or path}, line {error.lineno}"
        for frame, line in reversed(list(walk_tb(error.__traceback__))):
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(self._folder):
                return f"{file.relative_to(self._folder).as_posix()}, line {line}"
        return path


def _write_swiftly(sandbox: Sandbox, path: str, context: dict[str, Any], limit: int) -> str:
    """Render one file without keeping note of its lines."""
    sandbox.meter.steps = sandbox.meter.work = 0
    template = sandbox.get_template(path)
    # What `new_context` does, without the chain of maps that a template keeps its globals in.
    values = sandbox.context_class(sandbox, {**sandbox.globals, **context}, path, template.blocks)
    stream: Iterable[str] = template.root_render_func(values)
    kept: list[str] = []
    size = 0
    while pieces := list(islice(stream, _PIECES)):
        size += sum(map(len, pieces))
        if size > limit:
            raise SecurityError(f"it writes more than {limit} characters")
        kept += pieces
    return "".join(kept)


def _write_page(sandbox: Sandbox, path: str, context: dict[str, Any], limit: int) -> str:
    """A whole page whose styles are in its tags already; css-inline would complete what is less than a page."""
    html = _write_swiftly(sandbox, path, context, limit)
    if not html.startswith(_DOCTYPES):
        raise NotSimpleError("this is not a whole page")
    return html if html.isascii() else _narrow(html)


def _narrow(html: str) -> str:
    """The same page in ASCII, which travels as it is, unless that would be longer than base64.

    All that is not ASCII stands where character references are read: the page has styles and comments in ASCII only.
    """
    octets = len(html.encode())
    narrow = html.encode("ascii", "xmlcharrefreplace")
    return narrow.decode() if len(narrow) * 3 <= octets * 4 else html


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
