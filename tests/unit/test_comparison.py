"""Which changes of a template break those who send it, one rule at a time."""

from typing import Any

import pytest

from email_service.authoring.comparison import Change, Contract, compare, compare_schemas


def schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (schema(), schema(name=TEXT), ("name", "is new", False)),
        (schema(), schema("name", name=TEXT), ("name", "is new and required", True)),
        (schema(name=TEXT), schema(), ("name", "is gone", True)),
        (schema(name=TEXT), schema("name", name=TEXT), ("name", "is required now", True)),
        (schema("name", name=TEXT), schema(name=TEXT), ("name", "may be left out now", False)),
    ],
)
def test_a_variable_that_comes_or_goes(old, new, told):
    assert list(compare_schemas(old, new)) == [told]


@pytest.mark.parametrize(
    ("old", "new", "is_breaking"),
    [
        ({"type": "string"}, {"type": "integer"}, True),
        ({"type": "integer"}, {"type": "number"}, False),
        ({"type": "number"}, {"type": "integer"}, True),
        ({"type": ["string", "null"]}, {"type": "string"}, True),
        ({"type": "string"}, {"type": ["string", "null"]}, False),
        ({"type": "string"}, {}, False),
        ({}, {"type": "string"}, True),
        ({"maxLength": 100}, {"maxLength": 50}, True),
        ({"maxLength": 50}, {"maxLength": 100}, False),
        ({}, {"maxLength": 100}, True),
        ({"maxLength": 100}, {}, False),
        ({"minLength": 1}, {"minLength": 2}, True),
        ({"minLength": 2}, {"minLength": 1}, False),
        ({"minimum": 0}, {"minimum": -1}, False),
        ({"minimum": 0}, {"minimum": 0.5}, True),
        ({"maxItems": 5}, {"maxItems": 4}, True),
        ({"pattern": "a"}, {"pattern": "b"}, True),
        ({}, {"pattern": "b"}, True),
        ({"pattern": "a"}, {}, False),
        ({"format": "uri"}, {"format": "email"}, True),
        ({"format": "uri"}, {}, False),
        ({}, {"format": "uri"}, True),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, True),
        ({"enum": ["a"]}, {"enum": ["b"]}, True),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, False),
        ({"enum": ["a"]}, {}, False),
        ({}, {"enum": ["a"]}, True),
        ({"hosts": ["a.example", "b.example"]}, {"hosts": ["a.example"]}, True),
        ({"hosts": ["a.example"]}, {}, False),
        ({"const": 1}, {"const": 2}, True),
        ({"uniqueItems": False}, {"uniqueItems": True}, True),
        ({"uniqueItems": True}, {"uniqueItems": False}, False),
        ({"multipleOf": 4}, {"multipleOf": 2}, False),
        ({"multipleOf": 2}, {"multipleOf": 4}, True),
        ({"anyOf": [TEXT]}, {"anyOf": [{"type": "integer"}]}, True),
        ({"not": TEXT}, {}, True),
    ],
)
def test_a_variable_that_lets_in_less_or_more(old, new, is_breaking):
    found = list(compare_schemas(schema(x=old), schema(x=new)))
    assert [(place, breaks) for place, _, breaks in found] == [("x", is_breaking)]
    assert all(message for _, message, _ in found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TEXT, TEXT),
        ({"description": "A"}, {"description": "B"}),
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}),
        ({"type": "string"}, {"type": ["string"]}),
        ({"uniqueItems": False}, {}),
        ({"items": True}, {}),
    ],
)
def test_what_nobody_notices_is_not_told(old, new):
    assert list(compare_schemas(schema(x=old), schema(x=new))) == []


def test_what_is_inside_of_lists_and_objects_is_compared():
    old = schema(lines={"type": "array", "items": schema("amount", amount=TEXT)})
    new = schema(lines={"type": "array", "items": schema("amount", amount={**TEXT, "maxLength": 9}, note=TEXT)})
    assert sorted(compare_schemas(old, new)) == [
        ("lines[].amount", "maxLength is 9, and was not set", True),
        ("lines[].note", "is new", False),
    ]


def test_an_object_that_is_closed_breaks_and_one_that_is_opened_does_not():
    closed = schema(a=TEXT)
    opened = {**closed, "additionalProperties": True}
    assert list(compare_schemas(opened, closed)) == [("", "lets no other names in any more", True)]
    assert list(compare_schemas(closed, opened)) == [("", "lets other names in now", False)]


def test_templates_and_locales_that_come_or_go_are_told_what_breaks_first():
    old = {
        "gone": Contract(variables=schema(), locales=frozenset({"en"})),
        "kept": Contract(variables=schema(), locales=frozenset({"en", "de"})),
    }
    new = {
        "kept": Contract(variables=schema(a=TEXT), locales=frozenset({"en", "fr"})),
        "new": Contract(variables=schema(), locales=frozenset({"en"})),
    }
    assert compare(old, new) == [
        Change("gone", "", "the template is gone", True),
        Change("kept", "", "the locale de is gone", True),
        Change("kept", "", "the locale fr is new", False),
        Change("kept", "a", "is new", False),
        Change("new", "", "the template is new", False),
    ]
    assert str(compare(old, new)[3]) == "harmless  kept: a: is new"
