"""The variables that a template is tried with: its samples, only what is required, the longest that its schema lets in.

Knows JSON Schema as manifests use it; where a value cannot be made from it, the sample's stands.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from email_service.rendering.catalog import Template
from email_service.rendering.variables import find_faults

SAMPLE, REQUIRED, LONGEST = "sample", "required", "longest"

_UNSUBSCRIBE_URL = "https://mail.example.com/pages/unsubscribe?token=" + "A1b2C3d4" * 10

_WORD = "Wonderful "  # wide letters; a word and a space, as text wraps
_LINK = "https://app.example.com/" + "a-long-path/" * 15
_UNBOUNDED_CHARACTERS = 500  # of a string whose schema sets no bound
_UNBOUNDED_ENTRIES = 20


def find_link(template: Template) -> str | None:
    """The link by which a reader would unsubscribe, if one can."""
    return _UNSUBSCRIBE_URL if template.can_unsubscribe else None


def find_cases(template: Template) -> dict[str, dict[str, Any]]:
    """The three sets of variables by their names, each with what the schema takes."""
    sample = template.sample_variables
    required = {name: sample[name] for name in template.variables_schema["required"] if name in sample}
    return {SAMPLE: sample, REQUIRED: required, LONGEST: _find_longest(template)}


def leave_out_each(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """The samples without each optional variable, and what is required with each: `without name`, `only name`."""
    sample = template.sample_variables
    required = find_cases(template)[REQUIRED]
    for name in [name for name in sample if name not in required]:
        yield f"without {name}", {key: value for key, value in sample.items() if key != name}
        yield f"only {name}", {**required, name: sample[name]}


def _find_longest(template: Template) -> dict[str, Any]:
    properties: Mapping[str, Any] = template.variables_schema["properties"]
    longest = dict(template.sample_variables)
    for name, schema in properties.items():
        value = _lengthen(schema, longest.get(name))
        if value is not None and not _has_faults(template, {**longest, name: value}, name):
            longest[name] = value
    return longest


def _has_faults(template: Template, variables: dict[str, Any], name: str) -> bool:
    faults = find_faults(variables, template.validator, template.variables_schema)
    place = f"/variables/{name}"
    return any(each.pointer == place or each.pointer.startswith(f"{place}/") for each in faults)


def _lengthen(schema: Any, sample: Any) -> Any:
    """The longest value, or the sample where none can be made; None where there is neither."""
    if not isinstance(schema, dict):
        return sample
    match schema.get("type"):
        case "string" if "enum" not in schema and "const" not in schema:
            return _long_text(schema, sample)
        case "array":
            inner = sample[0] if isinstance(sample, list) and sample else None
            entry = _lengthen(schema.get("items"), inner)
            return sample if entry is None else [entry] * int(schema.get("maxItems", _UNBOUNDED_ENTRIES))
        case "object":
            given = sample if isinstance(sample, dict) else {}
            made = {name: _lengthen(each, given.get(name)) for name, each in schema.get("properties", {}).items()}
            return {**given, **{name: value for name, value in made.items() if value is not None}} or sample
        case "integer" | "number" if "maximum" in schema:
            return schema["maximum"]
    return sample


def _long_text(schema: Mapping[str, Any], sample: Any) -> Any:
    if schema.get("format") == "uri" and "hosts" not in schema:
        return _LINK
    if "format" in schema:
        return sample
    length = int(schema.get("maxLength", _UNBOUNDED_CHARACTERS))
    return (_WORD * (length // len(_WORD) + 1))[:length].rstrip() if length else sample
