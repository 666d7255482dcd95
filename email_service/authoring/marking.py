"""Renders a page whose every tag says from which line of which file it came, so that a finding can name it.

Knows the trees of Jinja; what it renders is read and never sent.
"""

import re
from typing import Any

from jinja2 import nodes

from email_service.rendering.sandbox import Sandbox

MARK = "data-from"

_TAG = re.compile(r"<([a-zA-Z][a-zA-Z0-9-]*)(?=[\s/>])")


class MarkingSandbox(Sandbox):
    """The sandbox, and each start tag that a file holds gets its place as an attribute."""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        if name is not None and name.endswith(".html"):
            for output in tree.find_all(nodes.Output):
                output.nodes = [_marked(each, name) for each in output.nodes]
        return tree


def _marked(node: Any, name: str) -> Any:
    if not isinstance(node, nodes.TemplateData):
        return node

    def mark(tag: re.Match[str]) -> str:
        line = node.lineno + node.data.count("\n", 0, tag.start())
        return f'<{tag[1]} {MARK}="{name}:{line}"'

    return nodes.TemplateData(_TAG.sub(mark, node.data), lineno=node.lineno)
