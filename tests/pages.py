"""What a page of html holds, whoever wrote it down and however."""

from html.parser import HTMLParser

from css_inline import CSSInliner

# It reads and completes a page as HTML 5 says, and inlines nothing.
READER = CSSInliner(inline_style_tags=False, keep_style_tags=True, keep_link_tags=True)


class Nodes(HTMLParser):
    """The nodes of a page in order: without the order of attributes, the way of quoting, and tags left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.found.append(("text", data))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", decl.lower()))


def read(html: str) -> list[object]:
    nodes = Nodes()
    nodes.feed(READER.inline(html))
    nodes.close()
    return nodes.found
