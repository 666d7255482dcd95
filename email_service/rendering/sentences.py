"""Puts the words of one language into a template's tree when it is loaded, so that no message has to look for them.

`say("terms", lifetime=...)` becomes the sentence's pieces: words, expressions in their places, `<strong>` in html.
Knows the trees of Jinja; a sentence or a place that is not there is a mistake of the template.
"""

from collections.abc import Iterator
from typing import TypeGuard

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer
from markupsafe import escape

from email_service.kernel.locales import ISOLATE, ISOLATE_END
from email_service.rendering import words
from email_service.rendering.files import BUILTIN, WORDS
from email_service.rendering.folding import bound_names
from email_service.rendering.words import STRONG, Language

SAY = "say"
_STRONG_TAGS = ('<strong class="strong">', "</strong>")


def resolve(tree: nodes.Template, language: Language, name: str | None, *, is_html: bool) -> nodes.Template:
    """The tree without calls of `say`. Raises TemplateSyntaxError for one that cannot be answered.

    A template that has a `say` of its own keeps it.
    """
    if SAY in bound_names(tree):
        return tree
    resolved: nodes.Template = _Speaker(language, name, is_html=is_html).visit(tree)
    return resolved


class _Speaker(NodeTransformer):
    """Answers `say` from the table named like the template's folder; a file of the layout has those for all only."""

    def __init__(self, language: Language, name: str | None, *, is_html: bool) -> None:
        self._language = language
        self._is_isolated = language.direction == "rtl"
        self._name = name
        path = (name or "").removeprefix(f"{BUILTIN}/")
        self._table = path.partition("/")[0] if "/" in path else None
        self._is_html = is_html

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - Jinja looks the method up by this name
        said: list[nodes.Expr] = []
        for each in node.nodes:
            said += self._written(each) if _is_said(each) else [self.visit(each)]
        node.nodes = said
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - Jinja looks the method up by this name
        """The sentence as a value, to be escaped where it is written."""
        if not _is_said(node):
            return self.generic_visit(node)
        pieces = [nodes.Const(each) if isinstance(each, str) else each for each in self._pieces(node)]
        if any(isinstance(each, nodes.Const) and each.value == STRONG for each in pieces):
            raise self._mistake(node, f"has a {STRONG}, which only works where the sentence is written at once")
        return pieces[0] if len(pieces) == 1 else nodes.Concat(pieces, lineno=node.lineno)

    def _written(self, node: nodes.Call) -> Iterator[nodes.Expr]:
        is_strong = False
        for piece in self._pieces(node):
            if not isinstance(piece, str):
                yield piece
            elif piece != STRONG:
                yield nodes.TemplateData(str(escape(piece)) if self._is_html else piece, lineno=node.lineno)
            elif self._is_html:
                yield nodes.TemplateData(_STRONG_TAGS[is_strong], lineno=node.lineno)
                is_strong = not is_strong

    def _pieces(self, node: nodes.Call) -> Iterator[str | nodes.Expr]:
        entry = node.args[0] if len(node.args) == 1 else None
        if not isinstance(entry, nodes.Const) or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise self._mistake(node, 'has to be called like say("heading", name=name)')
        sentence = self._language.find(self._table, entry.value)
        if sentence is None:
            raise self._mistake(node, "is not there")
        # The brand is in many sentences, so that it need not be given.
        given: dict[str, nodes.Expr] = {"brand": nodes.Getattr(nodes.Name("brand", "load"), "name", "load")}
        given |= {each.key: self.visit(each.value) for each in node.kwargs}
        pieces = words.split(sentence)
        places = {place for each in pieces if (place := words.place_in(each))}
        if odd := sorted((places ^ given.keys()) - {"brand"}):
            raise self._mistake(node, f"and the template do not both have {', '.join(odd)}")
        for each in pieces:
            place = words.place_in(each)
            yield from [each] if place is None else self._isolated(given[place])

    def _isolated(self, value: nodes.Expr) -> Iterator[str | nodes.Expr]:
        yield from (ISOLATE, value, ISOLATE_END) if self._is_isolated else (value,)

    def _mistake(self, node: nodes.Call, what: str) -> TemplateSyntaxError:
        entry = node.args[0].value if node.args and isinstance(node.args[0], nodes.Const) else SAY
        place = f"{entry!r} of [{self._table or words.SHARED}] in {WORDS}/{self._language.locale}.toml"
        return TemplateSyntaxError(f"{place} {what}", node.lineno, self._name, self._name)


def _is_said(node: nodes.Node | None) -> TypeGuard[nodes.Call]:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == SAY
