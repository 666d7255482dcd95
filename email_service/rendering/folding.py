"""Makes a template's tree shorter when it is loaded: works out what never changes, and puts blocks where they are used.

Knows the trees of Jinja only. What comes out writes the same or fails; where that is not plain to see, the tree stays
as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.visitor import NodeTransformer
from markupsafe import escape

_DEEPEST = 10


class NotSimpleError(TemplateError):
    """Something is more than the short way can do; the long way has to be taken."""


# A block that stands inside one of these sees less there than it would see in place.
_WALLS = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock, nodes.With, nodes.Scope)
_NAMING = (nodes.Assign, nodes.AssignBlock, nodes.FromImport, nodes.Import, nodes.Macro)


def set_blocks(tree: nodes.Template, parse: Callable[[str], nodes.Template]) -> nodes.Template:
    """The template with what it extends as one tree without blocks. Raises NotSimpleError where that is not the same.

    Jinja runs each block as a function with a context of its own, which costs more than what most blocks write. A tree
    that extends another is never left as it was: the other has no blocks any more that it could fill.
    """
    chain = [tree]
    while (parent := _parent(chain[-1])) is not None and len(chain) < _DEEPEST:
        chain.append(parse(parent))
    blocks = {block.name: block for each in reversed(chain) for block in each.find_all(nodes.Block)}
    can_be_joined = all(_can_be_joined(each, is_last=each is chain[-1]) for each in chain)
    if not can_be_joined or not _is_each_set_once(chain[-1], blocks):
        if tree.find(nodes.Extends) is None:
            return tree
        raise NotSimpleError("its blocks depend on where they are run")
    joined: nodes.Template = _BlockSetter(blocks).visit(chain[-1])
    before = (node for each in chain[:-1] for node in each.body if isinstance(node, nodes.Assign | nodes.FromImport))
    joined.body = [*before, *joined.body]
    return joined


def fold(tree: nodes.Template, values: Mapping[str, Any], *, is_html: bool) -> nodes.Template:
    """Put what never changes in its place, choose what it decides, join what it parts.

    The values stand under the name or under `name.attribute`; a name that the template itself sets is left alone.
    """
    own = set(bound_names(tree))
    known = {name: value for name, value in values.items() if name.partition(".")[0] not in own}
    tree = _Folder(known, is_html=is_html).visit(tree)
    for each in (tree, *tree.find_all(nodes.Node)):
        for field in ("body", "else_"):
            if hasattr(each, field):
                setattr(each, field, list(_joined(getattr(each, field))))
    return tree


def bound_names(tree: nodes.Template) -> Iterator[str]:
    """Every name that the template gives a meaning of its own."""
    yield from (each.name for each in tree.find_all(nodes.Macro))
    yield from (each.name for each in tree.find_all(nodes.Name) if each.ctx != "load")
    for each in tree.find_all(nodes.FromImport):
        yield from (name if isinstance(name, str) else name[1] for name in each.names)


def _parent(tree: nodes.Template) -> str | None:
    first = tree.body[0] if tree.body else None
    if isinstance(first, nodes.Extends) and isinstance(first.template, nodes.Const):
        return first.template.value if isinstance(first.template.value, str) else None
    return None


def _can_be_joined(tree: nodes.Template, *, is_last: bool) -> bool:
    blocks = list(tree.find_all(nodes.Block))
    if any(each.name in {"self", "super"} for each in tree.find_all(nodes.Name)):
        return False
    if any(each.scoped or each.required for each in blocks) or len({each.name for each in blocks}) < len(blocks):
        return False
    if any(wall.find(nodes.Block) is not None for wall in tree.find_all(_WALLS)):
        return False
    if is_last:
        return tree.find(nodes.Extends) is None
    if len(list(tree.find_all(nodes.Extends))) > 1 or _parent(tree) is None:
        return False
    # What a child writes outside its blocks is not written; whatever else stands there may have an effect.
    return all(_is_harmless_above(each) for each in tree.body[1:])


def _is_harmless_above(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Output):
        return all(isinstance(each, nodes.TemplateData) for each in node.nodes)
    return isinstance(node, nodes.Block | nodes.Assign | nodes.FromImport)


def _is_each_set_once(root: nodes.Template, blocks: Mapping[str, nodes.Block]) -> bool:
    """Whether no block would stand twice: where an older file has it, and inside a younger one's block."""
    seen: set[str] = set()
    waiting: list[nodes.Node] = [root]
    while waiting:
        for block in _outermost_blocks(waiting.pop()):
            if block.name in seen:
                return False
            seen.add(block.name)
            waiting.append(blocks[block.name])
    return True


def _outermost_blocks(node: nodes.Node) -> Iterator[nodes.Block]:
    for each in node.iter_child_nodes():
        if isinstance(each, nodes.Block):
            yield each
        else:
            yield from _outermost_blocks(each)


class _BlockSetter(NodeTransformer):
    """Puts the body of the youngest block of each name in the block's place."""

    def __init__(self, blocks: Mapping[str, nodes.Block]) -> None:
        self._blocks = blocks

    def visit_Block(self, node: nodes.Block) -> Any:  # noqa: N802 - Jinja looks the method up by this name
        block = self._blocks[node.name]
        self.generic_visit(block)
        if not any(block.find_all(_NAMING)):
            return block.body
        return nodes.Scope(block.body, lineno=node.lineno)


class _Folder(NodeTransformer):
    """Works out what depends on nothing but the values."""

    def __init__(self, values: Mapping[str, Any], *, is_html: bool) -> None:
        self._values = values
        self._is_html = is_html

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - Jinja looks the method up by this name
        return self._known(node, node.name)

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802 - Jinja looks the method up by this name
        self.generic_visit(node)
        return self._known(node, f"{node.node.name}.{node.attr}") if isinstance(node.node, nodes.Name) else node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - Jinja looks the method up by this name
        self.generic_visit(node)
        node.nodes = [self._written(each) for each in node.nodes]
        return node

    def visit_If(self, node: nodes.If) -> Any:  # noqa: N802 - Jinja looks the method up by this name
        others, node.elif_ = node.elif_, []
        self.generic_visit(node)
        for each in others:
            self.generic_visit(each)
        node.elif_ = others
        if not isinstance(node.test, nodes.Const) or others:
            return node
        kept, dropped = (node.body, node.else_) if node.test.value else (node.else_, node.body)
        # A block is known by its name wherever it stands, and a name that is set belongs to the whole template.
        return node if any(nodes.Scope(dropped).find_all((nodes.Block, *_NAMING))) else kept

    def _known(self, node: nodes.Expr, name: str) -> nodes.Expr:
        return nodes.Const(self._values[name], lineno=node.lineno) if name in self._values else node

    def _written(self, node: nodes.Expr) -> nodes.Expr:
        if not isinstance(node, nodes.Const):
            return node
        return nodes.TemplateData(str(escape(node.value) if self._is_html else node.value), lineno=node.lineno)


def _joined(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """The statements, with outputs that follow each other as one."""
    last: nodes.Node | None = None
    for each in body:
        if isinstance(last, nodes.Output) and isinstance(each, nodes.Output):
            last.nodes += each.nodes
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last
