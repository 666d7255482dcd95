"""Writes the client's types from the description of the API: `python clients/python/generate.py`.

An `Out` schema becomes a dataclass, an `In` schema or the filters of a list a TypedDict, an enum a Literal. A word or a
shape that nobody named here stops it, so that a change of the contract is never guessed at.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DESCRIPTION = HERE.parents[1] / "tests" / "http" / "openapi.json"
PACKAGE = HERE / "email_service_client"
WIDTH = 120
# What the values of an enum are called, by the first place that has them.
WORDS = {
    "MessageOut.status": "Status",
    "MessageOut.lane": "Lane",
    "ExplanationOut.reason": "Reason",
    "SuppressionOut.reason": "SuppressionReason",
    "TokenIn.purpose": "Purpose",
    "MailWishIn.purpose": "PublicPurpose",
}
# Bodies whose members are the keyword arguments of a method; the small ones are written out there.
BODIES = ("AttachmentIn", "MessageIn", "RescheduleIn", "AccountIn", "TokenIn", "SessionIn")
FILTERS = {"/v1/messages": "MessageFilters", "/v1/suppressions": "SuppressionFilters", "/v1/audit": "AuditFilters"}
PAGING = {"limit", "cursor"}
# The first has no members, and the second is read as the problem that it is.
LEFT_OUT = {"NothingOut", "TooManyWishesOut"}
NAMES = {"StartedOut": "StartedSession", "PairOut": "TokenPair", "ValidOut": "ValidToken"}
# Members that an answer may lack; the description does not say so of answers.
ABSENT = {
    "BatchItemOut": {"message", "problem"},
    "ProblemOut": {"errors"},
    "TokenIssuedOut": {"token", "code"},
}
# Members that open something, and that no log may show.
SECRETS = {
    "AssertionOut": {"assertion"},
    "PairOut": {"access_token", "refresh_token"},
    "StartedOut": {"access_token", "refresh_token"},
    "TokenIssuedOut": {"token", "code"},
}
HEAD = '''"""{about}

Made by `generate.py` from the description of the API; a change belongs there.
"""
'''


def main() -> None:
    for name, text in write(json.loads(DESCRIPTION.read_text(encoding="utf-8"))).items():
        (PACKAGE / name).write_text(text, encoding="utf-8")


def write(description: dict[str, Any]) -> dict[str, str]:
    """The text of each module by its name."""
    schemas = description["components"]["schemas"]
    words = {tuple(_place(schemas, place)["enum"]): name for place, name in WORDS.items()}
    return {
        "words.py": _words(words),
        "answers.py": _answers(schemas, words),
        "bodies.py": _bodies(description, words),
    }


def answer_name(schema: str) -> str:
    """What the dataclass of an `Out` schema is called."""
    return NAMES.get(schema, schema.removesuffix("Out"))


def _place(schemas: dict[str, Any], place: str) -> Any:
    schema, _, member = place.partition(".")
    return schemas[schema]["properties"][member]


def _words(words: dict[tuple[str, ...], str]) -> str:
    about = "The words that the service uses. A newer service may use others, so none of them is checked at run time."
    lines = [HEAD.format(about=about), "from typing import Literal", ""]
    for values, name in words.items():
        line = f"{name} = Literal[{', '.join(map(_quoted, values))}]"
        if len(line) <= WIDTH:
            lines += [line]
        else:
            lines += [f"{name} = Literal[", *(f"    {_quoted(value)}," for value in values), "]"]
    return _joined(lines)


def _answers(schemas: dict[str, Any], words: dict[tuple[str, ...], str]) -> str:
    shown = [name for name in schemas if _is_answer(name)]
    lines = [
        HEAD.format(
            about="What the service answers. What it tells beyond this is left out, so that a newer one can be used."
        ),
        "from dataclasses import dataclass, field",
        "from datetime import datetime",
        "from typing import Any",
        "",
        f"from email_service_client.words import {', '.join(_used(words, schemas, shown))}",
    ]
    lines += [*_heading("Address"), "    email: str", "    name: str"]
    for name in _in_order(schemas, shown):
        lines += _heading(answer_name(name))
        lines += [line for member in _members(schemas[name]) for line in _field(name, member, schemas[name], words)]
    return _joined(lines)


def _heading(name: str) -> list[str]:
    return ["", "", "@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}:"]


def _bodies(description: dict[str, Any], words: dict[tuple[str, ...], str]) -> str:
    schemas = description["components"]["schemas"]
    filters = {name: _filters(description["paths"][path]["get"]) for path, name in FILTERS.items()}
    shown = {**{name: schemas[name] for name in BODIES}, **filters}
    lines = [
        HEAD.format(about="What methods take: the members of bodies and the filters of lists. Times need a zone."),
        "from datetime import datetime",
        "from typing import Any, NotRequired, TypedDict",
        "",
        f"from email_service_client.words import {', '.join(_used(words, shown, list(shown)))}",
        "",
        "",
        "class AddressIn(TypedDict):",
        "    email: str",
        "    name: NotRequired[str]",
    ]
    for name, schema in shown.items():
        lines += ["", "", f"class {name}(TypedDict):"]
        required = set(schema.get("required", ()))
        for member in sorted(schema["properties"], key=lambda each: (each not in required, each)):
            told = schema["properties"][member]
            kind = _kind(told, words, schemas)
            # A member that has to be left out of a call is a keyword of Python.
            lines += _noted(
                f"{'from_' if member == 'from' else member}: {kind if member in required else f'NotRequired[{kind}]'}",
                told,
            )
    return _joined(lines)


def _filters(operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "properties": {
            each["name"]: _plain(each["schema"]) for each in operation["parameters"] if each["name"] not in PAGING
        }
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A filter is left out and never null."""
    return {**schema, "type": [kind for kind in _types(schema) if kind != "null"]}


def _field(name: str, member: str, schema: dict[str, Any], words: dict[tuple[str, ...], str]) -> Iterator[str]:
    told = schema["properties"][member]
    kind = _kind(told, words, {})
    options = ["repr=False"] if member in SECRETS.get(name, ()) else []
    if member in ABSENT.get(name, ()):
        is_list = kind.startswith("list[")
        kind = kind if is_list else f"{kind} | None"
        options.insert(0, "default_factory=list" if is_list else "default=None")
    default = f" = field({', '.join(options)})" if options else ""
    yield from _noted(f"{member}: {kind}{default}", told)


def _noted(line: str, told: dict[str, Any]) -> list[str]:
    note = told.get("description", "")
    if not note or "An address" in note:
        return [f"    {line}"]
    if len(f"    {line}  # {note}") <= WIDTH:
        return [f"    {line}  # {note}"]
    return [f"    # {note}", f"    {line}"]


def _kind(told: dict[str, Any], words: dict[tuple[str, ...], str], schemas: dict[str, Any]) -> str:
    """A schema as Python says it."""
    if "$ref" in told:
        return _referred(told["$ref"])
    if "anyOf" in told:
        return " | ".join("None" if each.get("type") == "null" else _referred(each["$ref"]) for each in told["anyOf"])
    kinds = [_one_kind(kind, told, words, schemas) for kind in _types(told)]
    return " | ".join(dict.fromkeys(kinds))


def _one_kind(kind: str, told: dict[str, Any], words: dict[tuple[str, ...], str], schemas: dict[str, Any]) -> str:
    if "enum" in told and kind == "string":
        return words[tuple(value for value in told["enum"] if value is not None)]
    if kind == "array":
        return f"list[{_kind(told['items'], words, schemas)}]"
    if kind == "object" and set(told.get("properties", ())) == {"email", "name"}:
        return "Address" if told.get("readOnly") else "AddressIn"
    if kind == "object":
        inner = told["additionalProperties"]
        return f"dict[str, {_kind(inner, words, schemas) if inner else 'Any'}]"
    if kind == "string" and "format" in told:
        return {"date-time": "datetime", "uuid": "str", "byte": "bytes"}[told["format"]]
    return {"string": "str", "integer": "int", "boolean": "bool", "null": "None"}[kind]


def _types(told: dict[str, Any]) -> list[str]:
    """Where only a default is told, its type is meant."""
    kinds = told.get("type") or {bool: "boolean", str: "string"}[type(told["default"])]
    return [kinds] if isinstance(kinds, str) else kinds


def _referred(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return answer_name(name) if name.endswith("Out") else name


def _is_answer(name: str) -> bool:
    return name.endswith("Out") and not name.endswith("ListOut") and name not in LEFT_OUT


def _members(schema: dict[str, Any]) -> list[str]:
    return sorted(schema["properties"], key=lambda member: (member != "id", member))


def _in_order(schemas: dict[str, Any], shown: list[str]) -> list[str]:
    """Each after those that it refers to."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for other in shown:
            if f'"#/components/schemas/{other}"' in json.dumps(schemas[name]):
                add(other)
        if name not in ordered:
            ordered.append(name)

    for name in shown:
        add(name)
    return ordered


def _used(words: dict[tuple[str, ...], str], schemas: dict[str, Any], shown: list[str]) -> list[str]:
    enums = [told["enum"] for name in shown for told in schemas[name]["properties"].values() if "enum" in told]
    return sorted({words[tuple(value for value in values if value is not None)] for values in enums})


def _quoted(text: str) -> str:
    return json.dumps(text)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
