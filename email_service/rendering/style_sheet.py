"""The layout's style sheet and css-inline, which writes it into a mail's tags; many mail clients read nothing else.

Can do so with a whole page or with one start tag; knows neither templates nor variables.
"""

import re
from html.parser import HTMLParser

from css_inline import CSSInliner

from email_service.rendering.folding import NotSimpleError

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_SELECTOR = r"(?:[A-Za-z][A-Za-z0-9]*|\.[A-Za-z_-][\w-]*)(?:\.[A-Za-z_-][\w-]*)*"
_SIMPLE_RULES = re.compile(rf"(?:\s*{_SELECTOR}(?:\s*,\s*{_SELECTOR})*\s*\{{[^{{}}@\\]*\}})*\s*", re.ASCII)
_MARK = "data-the-one"
# What has to stand open around a tag, so that the parser of HTML 5 keeps it.
_FRAMES = dict.fromkeys(("td", "th"), "<table><tbody><tr>") | {
    "tr": "<table><tbody>",
    "col": "<table><colgroup>",
    **dict.fromkeys(("caption", "colgroup", "tbody", "tfoot", "thead"), "<table>"),
}
# What the parser adds to a page by itself, so that nobody can look for its tag.
_IMPLIED = ("html", "head", "body", "tbody", "tr", "colgroup", "p", "br")


class StyleSheet:
    """What `_layout/style.css` says. `is_simple`: a tag's own name and classes alone tell which rules it meets."""

    def __init__(self, css: str | None) -> None:
        self._found: dict[tuple[str, str], str | None] = {}  # as many as the templates have different tags
        self._inliner = CSSInliner(load_remote_stylesheets=False, extra_css=css)
        is_readable = _SIMPLE_RULES.fullmatch(_COMMENT.sub(" ", css or "")) is not None
        self.is_simple = is_readable and not any(self.find_style(tag, "") for tag in _IMPLIED)

    def inline(self, html: str) -> str:
        """The whole page with its styles written into its tags; reads no file and no network."""
        return self._inliner.inline(html)

    def find_style(self, tag: str, attributes: str) -> str | None:
        """The `style` that css-inline gives to this start tag; the same in every page when the sheet is simple."""
        if (tag, attributes) not in self._found:
            self._found[tag, attributes] = self._read_style(tag, attributes)
        return self._found[tag, attributes]

    def _read_style(self, tag: str, attributes: str) -> str | None:
        page = f"<!doctype html>{_FRAMES.get(tag, '')}<{tag} {attributes} {_MARK}>"
        reader = _TagReader()
        reader.feed(self._inliner.inline(page))
        reader.close()
        if reader.found is None:
            raise NotSimpleError(f"a <{tag}> does not stand by itself")
        return reader.found.get("style")


class _TagReader(HTMLParser):
    """Finds the attributes of the marked tag in what css-inline writes."""

    found: dict[str, str | None] | None = None

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if (attributes := dict(attrs)).pop(_MARK, None) is not None:
            self.found = attributes
