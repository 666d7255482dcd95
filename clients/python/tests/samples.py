"""Answers made up from the description of the API: every member of a schema is there. Knows no pytest."""

import json
from pathlib import Path
from typing import Any

from generate import DESCRIPTION

DESCRIBED: dict[str, Any] = json.loads(Path(DESCRIPTION).read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DESCRIBED["components"]["schemas"]
_TEXTS = {"date-time": "2026-11-21T01:43:27.247Z", "uuid": "01a1fbc5-cf0f-71b6-8660-565e4b785ed7"}


def sample(schema: dict[str, Any]) -> Any:
    """A document that this schema describes."""
    if "$ref" in schema or "anyOf" in schema:
        reference = schema.get("$ref") or schema["anyOf"][0]["$ref"]
        return sample(SCHEMAS[reference.rpartition("/")[2]])
    kinds = schema.get("type", "")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "object":
        members = schema.get("properties") or {"any": schema.get("additionalProperties") or {"type": "string"}}
        return {name: sample(each) for name, each in members.items()}
    if kind == "array":
        return [sample(schema["items"])]
    plain = {"string": _TEXTS.get(schema.get("format", ""), "text"), "integer": 7, "boolean": True}
    return schema["enum"][0] if "enum" in schema else plain.get(kind, schema.get("default"))
