"""What can be told of a template's files without rendering them: names, filters, tests and calls in every branch.

Knows the trees of Jinja and the schema of the variables; an expression that it cannot follow is left to the rendering.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError, TemplateNotFound
from jinja2.meta import find_referenced_templates, find_undeclared_variables

from email_service.authoring.findings import Place, Told
from email_service.rendering.catalog import PARTS, Template
from email_service.rendering.files import Files
from email_service.rendering.sandbox import METHODS, Sandbox

_PLAIN_LINK = re.compile(r"\bhttp://(?!www\.w3\.org/)[^\s\"'<>{}]*", re.IGNORECASE)
_TAKING_IN = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
_OPEN_CALLABLES = frozenset({"loop", "self", "caller"})


@dataclass(slots=True)
class _Reading:
    """What is known while one part and all that it takes in are read."""

    sandbox: Sandbox
    template: Template
    given: set[str]
    seen: set[str] = field(default_factory=set)


def check_sources(sandbox: Sandbox, template: Template, path: str) -> Iterator[Told]:
    """What is wrong with one part of the template and with what it takes in."""
    given = {*template.variables_schema["properties"], *sandbox.globals}
    if not path.endswith(PARTS[0]):
        given.add("subject")
    reading = _Reading(sandbox, template, given)
    try:
        trees = dict(_follow(reading, path))
    except (TemplateError, UnicodeDecodeError):
        return  # rendering it says what is wrong
    for each, tree in trees.items():
        yield from _check_paths(sandbox, each, tree)
        yield from _check_names(reading, each, tree)
        yield from _check_calls(sandbox, each, tree)
        yield from _check_attributes(template, sandbox, each, tree)


def find_plain_links(files: Files, path: str) -> Iterator[Told]:
    """Links that anybody on the way could read and change."""
    file = files.find(path)
    for number, line in enumerate(file.content.decode(errors="replace").splitlines() if file else (), 1):
        for link in _PLAIN_LINK.findall(line):
            yield Told(Place(path, number), f"{link} is not an https link", "Write https:// instead of http://.")


def _follow(reading: _Reading, path: str | None) -> Iterator[tuple[str, Any]]:
    """The trees of a file and of all that it takes in; the names that they set themselves are given from then on."""
    if path is None or path in reading.seen or reading.sandbox.loader is None:  # a computed path has none
        return
    reading.seen.add(path)
    tree: Any = reading.sandbox.parse(reading.sandbox.loader.get_source(reading.sandbox, path)[0], path)
    reading.given |= {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    for node in tree.find_all(nodes.FromImport):
        reading.given |= {name if isinstance(name, str) else name[1] for name in node.names}
    yield path, tree
    for each in find_referenced_templates(tree):
        with suppress(TemplateNotFound):
            yield from _follow(reading, each)


def _check_paths(sandbox: Sandbox, path: str, tree: Any) -> Iterator[Told]:
    for node in tree.find_all(_TAKING_IN):
        if isinstance(node.template, nodes.Const) and isinstance(node.template.value, str):
            wanted = node.template.value
            if not getattr(node, "ignore_missing", False) and not _exists(sandbox, wanted):
                advice = "Write the path from the templates folder, such as _layout/layout.html."
                yield Told(Place(path, node.lineno), f"there is no file {wanted}", advice)


def _exists(sandbox: Sandbox, path: str) -> bool:
    try:
        return sandbox.loader is not None and bool(sandbox.loader.get_source(sandbox, path))
    except TemplateNotFound:
        return False


def _check_names(reading: _Reading, path: str, tree: Any) -> Iterator[Told]:
    unknown = find_undeclared_variables(tree) - reading.given
    lines = {node.name: node.lineno for node in reversed(list(tree.find_all(nodes.Name))) if node.name in unknown}
    for name, line in sorted(lines.items()):
        variables = reading.template.variables_schema["properties"]
        message = f"uses {name!r}, which is not in the manifest's variables"
        otherwise = f"Declare it in the manifest of {reading.template.name}"
        yield Told(Place(path, line), message, _suggest(name, variables, otherwise))


def _check_calls(sandbox: Sandbox, path: str, tree: Any) -> Iterator[Told]:
    """Jinja looks filters up when it writes them, so one in a branch that no sample takes would fail a reader."""
    for kind, node_type, known in (("filter", nodes.Filter, sandbox.filters), ("test", nodes.Test, sandbox.tests)):
        for node in tree.find_all(node_type):
            if node.name not in known:
                shown = [name for name in known if not name.startswith("_")]
                advice = _suggest(node.name, shown, f"Use one of {', '.join(sorted(shown))}")
                yield Told(Place(path, node.lineno), f"there is no {kind} {node.name!r}", advice)
    open_owners = {*_OPEN_CALLABLES, *(node.target for node in tree.find_all(nodes.Import))}
    for node in tree.find_all(nodes.Call):
        method = node.node
        if not isinstance(method, nodes.Getattr) or method.attr in METHODS:
            continue
        if not (isinstance(method.node, nodes.Name) and method.node.name in open_owners):
            advice = _suggest(method.attr, METHODS, f"Use one of {', '.join(sorted(METHODS))}, or a filter")
            yield Told(Place(path, node.lineno), f"{method.attr}() may not be called here", advice)


def _check_attributes(template: Template, sandbox: Sandbox, path: str, tree: Any) -> Iterator[Told]:
    """Attributes that the schema of an object, or the brand, does not have."""
    known: dict[str, Any] = dict(template.variables_schema["properties"])
    brand = sandbox.globals.get("brand")
    if isinstance(brand, Mapping):
        known["brand"] = {"properties": dict.fromkeys(brand), "additionalProperties": False}
    for name in [name for name in known if name in _rebound(tree)]:
        del known[name]
    for loop in tree.find_all(nodes.For):
        entries = _schema_of(loop.iter.node if isinstance(loop.iter, nodes.Filter) else loop.iter, known)
        if isinstance(loop.target, nodes.Name) and entries is not None:
            known.setdefault(loop.target.name, entries.get("items"))
    for node in tree.find_all(nodes.Getattr):
        schema = _schema_of(node.node, known)
        if schema is None or schema.get("additionalProperties") is not False or node.attr in METHODS:
            continue
        properties = schema.get("properties", {})
        if node.attr not in properties:
            owner = node.node.name if isinstance(node.node, nodes.Name) else node.node.attr
            advice = _suggest(node.attr, properties, f"It has {', '.join(sorted(properties)) or 'nothing'}")
            yield Told(Place(path, node.lineno), f"{owner!r} has no {node.attr!r}", advice)


def _schema_of(node: Any, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of what an expression comes to, where names and dots alone lead there."""
    if isinstance(node, nodes.Name):
        found = known.get(node.name)
    elif isinstance(node, nodes.Getattr):
        found = (_schema_of(node.node, known) or {}).get("properties", {}).get(node.attr)
    else:
        found = None
    return found if isinstance(found, dict) else None


def _rebound(tree: Any) -> set[str]:
    """Names that the file gives a meaning of its own; nothing is known of what they stand for."""
    arguments = {each.name for macro in tree.find_all(nodes.Macro) for each in macro.args}
    targets = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    return arguments | targets


def _suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    close = get_close_matches(name, known, n=1)
    return f"Write {close[0]!r}, if that is meant." if close else f"{otherwise}."
