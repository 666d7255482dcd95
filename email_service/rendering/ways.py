"""The ways from a template to its words in one language, from the shortest to the plainest.

Knows which of them works for which file; knows no catalog, and what is rendered with is already harmless.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from traceback import walk_tb
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError

from email_service.rendering.files import Files
from email_service.rendering.folding import NotSimpleError
from email_service.rendering.markup import embed_styles
from email_service.rendering.sandbox import METHODS, Sandbox, SwiftSandbox
from email_service.rendering.style_sheet import StyleSheet
from email_service.rendering.words import Language

# Everything that a template's own code can raise; a template is data, so its mistakes are answers, not crashes.
FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_PIECES = 16  # of a part that are made between two looks at its size
_DOCTYPES = ("<!doctype html>", "<!DOCTYPE html>")

Way = Callable[[str, dict[str, Any], int], str]


class Ways:
    """All templates in one language, compiled when they are first used; every thread may use them."""

    def __init__(self, files: Files, brand: Mapping[str, Any], sheet: StyleSheet, language: Language) -> None:
        self._files = files
        self._sheet = sheet
        self._sandbox = Sandbox(files, brand, language=language)
        swift = SwiftSandbox(files, brand, language=language)
        embed = partial(embed_styles, sheet=sheet, methods=METHODS)
        styled = SwiftSandbox(files, brand, embed, language=language)
        # Every way writes the same or fails; the last of each is the plainest and says what is wrong.
        self._html_ways: tuple[Way, ...] = (
            partial(_write_page, styled),
            partial(self._inline, swift),
            self._inline_plainly,
        )
        self._text_ways: tuple[Way, ...] = (partial(_write_swiftly, swift), self._write_plainly)
        self._first_ways: dict[str, int] = {}

    def write(self, path: str, context: dict[str, Any], limit: int) -> str:
        """Render one file by the shortest way that works, and begin with that way from then on."""
        ways = self._html_ways if path.endswith(".html") else self._text_ways
        first = self._first_ways.get(path, 0)
        for number, way in enumerate(ways[first:-1], first):
            try:
                written = way(path, context, limit)
            except FAILURES:
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

    def find_place(self, error: Exception, path: str) -> str:
        """The file and, where it is known, the line that a failure comes from."""
        if isinstance(error, TemplateSyntaxError):
            return f"{error.name or path}, line {error.lineno}"
        for frame, line in reversed(list(walk_tb(error.__traceback__))):
            if found := self._files.path_of(frame.f_code.co_filename):
                return f"{found}, line {line}"
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
