"""The list of calls, from the OpenAPI document. Knows OpenAPI, and of our calls no more than the document says."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

Document = dict[str, Any]
METHODS = ("get", "put", "post", "patch", "delete")
FIELDS = ["| field | type | what it takes or says |", "|---|---|---|"]


def markdown(root: Path) -> str:
    """A section for each tag, with a part for each of its calls."""
    document: Document = json.loads((root / "tests" / "http" / "openapi.json").read_text(encoding="utf-8"))
    parts: list[str] = []
    for tag in document["tags"]:
        parts += [f"## {tag['name'].replace('_', ' ').capitalize()}", "", tag["description"], ""]
        for path, methods in document["paths"].items():
            for method in METHODS:
                if tag["name"] in methods.get(method, {}).get("tags", ()):
                    parts += _call(document, method, path, methods)
    parts += ["## What an error holds", "", *_table(document, document["components"]["schemas"]["ProblemOut"])]
    return "\n".join(parts)


def _call(document: Document, method: str, path: str, methods: Document) -> Iterator[str]:
    call, heading = methods[method], f"{method.upper()} {path}"
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    yield from (f"### `{heading}`", "", f"{call['summary']}. [With an example](../api.md#{anchor}).", "")
    key = "Without an API key." if not call.get("security") else ""
    yield from (" ".join(filter(None, [call.get("description"), key])), "")
    if parameters := [*methods.get("parameters", ()), *call.get("parameters", ())]:
        yield from ("**Parameters**", "", "| parameter | in | type | what it takes |", "|---|---|---|---|")
        for each in parameters:
            schema = each["schema"]
            text = _said(each.get("required", False), each.get("description", ""), _limits(schema))
            yield f"| `{each['name']}` | {each['in']} | {_kind(document, schema)} | {text} |"
        yield ""
    if body := call.get("requestBody"):
        yield from ("**Body**", "", *_table(document, _schema(body)), "")
    yield from _answers(document, call["responses"])


def _answers(document: Document, responses: Document) -> Iterator[str]:
    refused = []
    for status, told in responses.items():
        response = _resolved(document, told)
        if status == "default" or int(status) >= HTTPStatus.BAD_REQUEST:
            refused.append((status, response))
            continue
        yield from (f"**Answers {status}** {HTTPStatus(int(status)).phrase}", "")
        if schema := _schema(response):
            yield from (*_table(document, schema), "")
    names = [
        "any other problem" if status == "default" else f"[{status}](errors.md#{_error_anchor(int(status))})"
        for status, _ in refused
    ]
    yield from ("**Errors**", "", f"{', '.join(names)}; each is a [problem](#what-an-error-holds).", "")


def _error_anchor(status: int) -> str:
    return f"{status}-{HTTPStatus(status).phrase.lower().replace(' ', '-')}"


def _schema(holder: Document) -> Document:
    """The schema of a body or of an answer, whichever media type it has; empty without one."""
    for media in holder.get("content", {}).values():
        schema: Document = media.get("schema", {})
        return schema
    return {}


def _table(document: Document, schema: Document) -> list[str]:
    rows = list(_rows(document, schema, ""))
    return [*FIELDS, *rows] if rows else [f"{_kind(document, schema).capitalize()}."]


def _rows(document: Document, schema: Document, prefix: str) -> Iterator[str]:
    schema = _resolved(document, schema)
    for alternative in schema.get("anyOf", ()):
        yield from _rows(document, alternative, prefix)
    for name, told in schema.get("properties", {}).items():
        resolved = _resolved(document, told)
        text = _said(name in schema.get("required", ()), resolved.get("description", ""), _limits(resolved))
        yield f"| `{prefix}{name}` | {_kind(document, told)} | {text} |"
        items = _resolved(document, resolved.get("items", {}))
        yield from _rows(document, resolved, f"{prefix}{name}.")
        yield from _rows(document, items, f"{prefix}{name}[].")


def _said(is_required: bool, description: str, limits: str) -> str:
    return " ".join(filter(None, ["**Required.**" if is_required else "", description, limits])).replace("|", "\\|")


def _kind(document: Document, schema: Document) -> str:
    """The types in words, such as `list of string, or null`."""
    schema = _resolved(document, schema)
    if "anyOf" in schema:
        kinds = [_kind(document, each) for each in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    types = schema.get("type", "any")
    kinds = []
    for kind in [types] if isinstance(types, str) else types:
        if kind == "array":
            kinds.append(f"list of {_kind(document, schema.get('items', {}))}")
        elif kind == "string" and schema.get("format"):
            kinds.append({"date-time": "time", "uuid": "id"}.get(schema["format"], schema["format"]))
        else:
            kinds.append(kind)
    return " or ".join(kinds)


def _limits(schema: Document) -> str:
    """What the value may be, and what it is unless given."""
    said = []
    if values := [value for value in schema.get("enum", ()) if value is not None]:
        said.append("One of " + ", ".join(f"`{value}`" for value in values) + ".")
    for low, high, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minimum", "maximum", ""),
    ):
        if high in schema:
            said.append(
                f"{schema[low]} to {schema[high]}{unit}." if low in schema else f"At most {schema[high]}{unit}."
            )
        elif low in schema:
            said.append(f"At least {schema[low]}{unit}.")
    if schema.get("default") is not None:
        said.append(f"`{json.dumps(schema['default'])}` unless given.")
    return " ".join(said)


def _resolved(document: Document, schema: Document) -> Document:
    """What a reference stands for, with what stands beside the reference."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for name in schema["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return {**_resolved(document, found), **{name: value for name, value in schema.items() if name != "$ref"}}
