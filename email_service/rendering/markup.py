"""Writes the styles into a template's own tags when it is loaded, so that no message has to be parsed for them.

Knows the trees of Jinja and the tokens of HTML 5; leaves whatever is not plain to see to the long way.
"""

import re
from collections.abc import Iterator
from html import escape

from jinja2 import nodes

from email_service.rendering.folding import NotSimpleError, bound_names
from email_service.rendering.style_sheet import StyleSheet

# Each expression between the tags is one of these characters while the html around it is read.
_FIRST_HOLE, _LAST_HOLE = 0xF0000, 0xFFFFD
_HOLE = f"[{chr(_FIRST_HOLE)}-{chr(_LAST_HOLE)}]"
_NO_HOLE = f"[^{chr(_FIRST_HOLE)}-{chr(_LAST_HOLE)}]"
_ATTRIBUTE = re.compile(
    rf"""(?P<name>[a-zA-Z_:][a-zA-Z0-9_:.-]*)(?:\s*=\s*(?P<value>"[^"]*"|'[^']*'|(?!{_HOLE})[^\s"'=<>`{_HOLE[1:-1]}]+))?""",
)
_UNNAMED = re.sub(r"\?P<\w+>", "?:", _ATTRIBUTE.pattern)
_TOKEN = re.compile(
    rf"""
    (?P<text> [^<]+ )
    | (?P<comment> <!--(?!-?>) (?: (?!--){_NO_HOLE} )* --> )
    | (?P<doctype> <!doctype\ html> )
    | (?P<end> </[a-z][a-z0-9-]*\s*> )
    | (?P<start> <(?P<tag>[a-z][a-z0-9-]*) (?P<attributes> (?: \s+ {_UNNAMED} )* ) \s*/?> )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# Without strings, comments and escapes, in which a brace would be none.
_PLAIN_CSS = rf"(?:(?![{{}}@</\\\"']){_NO_HOLE})*"
_MEDIA_RULE = rf"@media(?:(?!;)[^{{}}@</\\\"'{_HOLE[1:-1]}])*\{{(?:{_PLAIN_CSS}\{{{_PLAIN_CSS}\}})*\s*\}}"
_TITLE = re.compile(r"[^<]*</title\s*>", re.IGNORECASE)
_STYLE = re.compile(rf"(?:\s*{_MEDIA_RULE})*\s*</style\s*>", re.IGNORECASE)
_STYLE_ATTRIBUTES = re.compile(r'\s+data-css-inline="keep"(?:\s+type="text/css")?')

# What has a content that is read otherwise, what the parser moves or drops, and what css-inline follows.
# fmt: off
_STRANGE = frozenset({
    "base", "frame", "frameset", "iframe", "image", "isindex", "link", "listing", "math", "noembed", "noframes",
    "noscript", "plaintext", "pre", "script", "select", "svg", "template", "textarea", "xmp"
})
# fmt: on
_ONCE = frozenset({"html", "head", "body"})
_FUNCTIONS = frozenset({"range", "namespace"})


def embed_styles(tree: nodes.Template, sheet: StyleSheet, methods: frozenset[str]) -> None:
    """Change the tree so that it writes what css-inline would make of its output. Raises NotSimpleError.

    Holds because a simple sheet asks only for a tag's own name and classes, every piece of the tree begins and ends
    between two tags, and nothing that was written with tags is ever read again: `methods` are the names that only
    methods of plain values have.
    """
    if not sheet.is_simple:
        raise NotSimpleError("the style sheet has more than simple selectors")
    _check_statements(tree, methods)
    page = _Page(sheet)
    for output in tree.find_all(nodes.Output):
        output.nodes = list(page.restyle(output.nodes))
    called = {id(each.call) for each in tree.find_all(nodes.CallBlock)} | page.written_calls
    for call in tree.find_all(nodes.Call):
        if id(call) not in called and not _is_plain(call, methods):
            raise NotSimpleError("the result of a macro is used before it is written")


def _check_statements(tree: nodes.Template, methods: frozenset[str]) -> None:
    """Refuse what can hand written html to an expression."""
    if tree.find(nodes.Import) is not None or tree.find(nodes.FilterBlock) is not None:
        raise NotSimpleError("html is kept or filtered as a whole")
    for block in tree.find_all(nodes.AssignBlock):
        words = "".join(each.data for each in block.find_all(nodes.TemplateData))
        if re.search("[<>\"']", words) or any(block.find_all((nodes.Call, nodes.Include, nodes.Block))):
            raise NotSimpleError("html is kept in a variable")
    for name in bound_names(tree):
        if name in methods | _FUNCTIONS:
            raise NotSimpleError(f"{name} has another meaning")


def _is_plain(call: nodes.Call, methods: frozenset[str]) -> bool:
    if isinstance(call.node, nodes.Name):
        return call.node.name in _FUNCTIONS
    return isinstance(call.node, nodes.Getattr) and call.node.attr in methods


def _written_calls(expression: nodes.Node) -> Iterator[int]:
    """The calls whose result is written as it is."""
    if isinstance(expression, nodes.Call):
        yield id(expression)
    elif isinstance(expression, nodes.CondExpr):
        yield from _written_calls(expression.expr1)
        if expression.expr2 is not None:
            yield from _written_calls(expression.expr2)


class _Page:
    """What was found in one template so far."""

    def __init__(self, sheet: StyleSheet) -> None:
        self._sheet = sheet
        self._seen: set[str] = set()
        self.written_calls: set[int] = set()

    def restyle(self, pieces: list[nodes.Expr]) -> Iterator[nodes.Expr]:
        """The pieces of one output, with the styles in their tags."""
        holes = [each for each in pieces if not isinstance(each, nodes.TemplateData)]
        if len(holes) > _LAST_HOLE - _FIRST_HOLE:
            raise NotSimpleError("there are too many expressions")
        number = iter(range(_FIRST_HOLE, _LAST_HOLE))
        source = "".join(
            _checked(each.data) if isinstance(each, nodes.TemplateData) else chr(next(number)) for each in pieces
        )
        for each in re.split(f"({_HOLE})", "".join(self._tokens(source, holes))):
            if re.fullmatch(_HOLE, each):
                yield holes[ord(each) - _FIRST_HOLE]
            elif each:
                yield nodes.TemplateData(each)

    def _tokens(self, source: str, holes: list[nodes.Expr]) -> Iterator[str]:
        position = 0
        while position < len(source):
            token = _TOKEN.match(source, position)
            if token is None:
                raise NotSimpleError("a tag or a comment is not whole or not plain")
            position = token.end()
            if token.lastgroup == "text":
                for hole in re.findall(_HOLE, token[0]):
                    self.written_calls.update(_written_calls(holes[ord(hole) - _FIRST_HOLE]))
            if token["start"] is None:
                _check_ascii(token["comment"] or "")
                yield token[0]
                continue
            yield self._start_tag(token)
            content = _content_after(token, source)
            position += len(content)
            yield content

    def _start_tag(self, token: re.Match[str]) -> str:
        tag = token["tag"].lower()
        attributes = {each["name"].lower(): each for each in _ATTRIBUTE.finditer(token["attributes"])}
        is_style = tag == "style" and _STYLE_ATTRIBUTES.fullmatch(token["attributes"]) is not None
        if is_style:
            return token[0]
        is_doubtful = tag in _STRANGE or tag in self._seen or "data-css-inline" in attributes or tag == "style"
        if is_doubtful or len(attributes) < len(list(_ATTRIBUTE.finditer(token["attributes"]))):
            raise NotSimpleError(f"a <{tag}> is not read by itself")
        self._seen.update(_ONCE & {tag})
        return self._styled(token, tag, attributes.get("class"), attributes.get("style"))

    def _styled(
        self, token: re.Match[str], tag: str, of_class: re.Match[str] | None, of_style: re.Match[str] | None
    ) -> str:
        of_class_text, of_style_text = (each[0] if each else "" for each in (of_class, of_style))
        if re.search(_HOLE, of_class_text):
            raise NotSimpleError("a class is not known before the message")
        is_open = re.search(_HOLE, of_style_text) is not None
        style = self._sheet.find_style(tag, of_class_text if is_open else f"{of_class_text} {of_style_text}")
        if is_open and style is not None:
            raise NotSimpleError("a style is not known before the message")
        if is_open or style is None:
            return token[0]
        quoted = escape(style, quote=False).replace('"', "&quot;")
        written = f'style="{quoted}"'
        begin = token.start("attributes") - token.start()
        end = token.end("attributes") - token.start()
        if of_style is None:
            return f"{token[0][:end]} {written}{token[0][end:]}"
        return token[0][: begin + of_style.start()] + written + token[0][begin + of_style.end() :]


def _checked(data: str) -> str:
    if re.search(_HOLE, data):
        raise NotSimpleError("a character is for private use")
    return data


def _content_after(token: re.Match[str], source: str) -> str:
    """What follows a tag whose content is not read as html, to its end tag."""
    content = {"title": _TITLE, "style": _STYLE}.get(token["tag"].lower())
    if content is None:
        return ""
    found = content.match(source, token.end())
    if found is None:
        raise NotSimpleError(f"a <{token['tag']}> holds more than it may")
    if token["tag"].lower() == "style":
        _check_ascii(found[0])
    return found[0]


def _check_ascii(raw: str) -> None:
    """Refuse what could not be written as a character reference, should the page have to be ASCII."""
    if not raw.isascii():
        raise NotSimpleError("a style or a comment is not ASCII")
