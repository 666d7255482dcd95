"""Which changes of a template break those who send it: variables that are not taken any more, names that are gone.

Pure rules over JSON Schemas and names. What cannot be compared, such as two patterns, counts as breaking: a warning too
many costs a look, one too few costs a mail.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a sender of a template relies on."""

    variables: Mapping[str, Any]  # a JSON Schema
    locales: frozenset[str]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions of one template."""

    template: str
    place: str  # of the variable, such as `lines[].amount`; empty for the template itself
    message: str
    is_breaking: bool

    def __str__(self) -> str:
        kind = "breaking" if self.is_breaking else "harmless"
        return f"{kind}  {self.template}{f': {self.place}' if self.place else ''}: {self.message}"


_Told = tuple[str, str, bool]  # place, message, whether it breaks

# More of it lets less in, and less of it lets more in; and the other way round.
_LOWER_BOUNDS = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")
_UPPER_BOUNDS = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
_CHOICES = ("enum", "hosts")
_RULES = ("pattern", "format", "multipleOf", "uniqueItems", "const")
_STRUCTURE = ("type", "properties", "required", "additionalProperties", "items")
_WORDS = ("title", "description", "default", "examples", "deprecated", "$comment", "$id", "$schema")
_KNOWN = frozenset((*_LOWER_BOUNDS, *_UPPER_BOUNDS, *_CHOICES, *_RULES, *_STRUCTURE, *_WORDS))


def compare(old: Mapping[str, Contract], new: Mapping[str, Contract]) -> list[Change]:
    """What changed from the old templates to the new ones, in the order of their names, what breaks first."""
    found = [Change(name, "", "the template is gone", True) for name in old.keys() - new.keys()]
    found += [Change(name, "", "the template is new", False) for name in new.keys() - old.keys()]
    for name in old.keys() & new.keys():
        before, after = old[name], new[name]
        found += [Change(name, "", f"the locale {each} is gone", True) for each in before.locales - after.locales]
        found += [Change(name, "", f"the locale {each} is new", False) for each in after.locales - before.locales]
        found += [Change(name, *told) for told in compare_schemas(before.variables, after.variables)]
    return sorted(found, key=lambda each: (each.template, not each.is_breaking, each.place, each.message))


def compare_schemas(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> Iterator[_Told]:
    """Place, message and whether it breaks, for each difference in what these schemas let in."""
    yield from _compare_types(old, new, place)
    yield from _compare_properties(old, new, place)
    yield from _compare_bounds(old, new, place)
    yield from _compare_choices(old, new, place)
    yield from _compare_rules(old, new, place)
    before, after = old.get("items"), new.get("items")
    if isinstance(before, dict) or isinstance(after, dict):
        yield from compare_schemas(_as_schema(before), _as_schema(after), f"{place}[]")
    for keyword in sorted((old.keys() | new.keys()) - _KNOWN):
        if old.get(keyword) != new.get(keyword):
            yield place, f"{keyword} changed, which cannot be compared", True


def _compare_types(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[_Told]:
    before, after = _types(old), _types(new)
    if before != after:
        is_narrower = after is not None and (before is None or not before <= after)
        yield place, f"has to be {_list(after)} and could be {_list(before)}", is_narrower


def _types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """What a value may be; None: anything. Every integer is a number."""
    named = schema.get("type")
    if named is None:
        return None
    types = {named} if isinstance(named, str) else set(named)
    return frozenset(types | ({"integer"} if "number" in types else set()))


def _list(types: frozenset[str] | None) -> str:
    return " or ".join(sorted(types - {"integer"} if "number" in types else types)) if types else "anything"


def _compare_properties(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[_Told]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed_before, needed = set(old.get("required", ())), set(new.get("required", ()))
    is_open = new.get("additionalProperties", True) is not False
    for name in before.keys() - after.keys():
        yield _inside(place, name), "is gone" + ("" if not is_open else ", and is still let in"), not is_open
    for name in after.keys() - before.keys():
        yield _inside(place, name), "is new" + (" and required" if name in needed else ""), name in needed
    for name in before.keys() & after.keys():
        if name in needed - needed_before:
            yield _inside(place, name), "is required now", True
        if name in needed_before - needed:
            yield _inside(place, name), "may be left out now", False
        yield from compare_schemas(_as_schema(before[name]), _as_schema(after[name]), _inside(place, name))
    was_open = old.get("additionalProperties", True) is not False
    if was_open != is_open and (before or after):
        yield place, "lets other names in now" if is_open else "lets no other names in any more", was_open


def _compare_bounds(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[_Told]:
    for keyword in (*_LOWER_BOUNDS, *_UPPER_BOUNDS):
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        is_tighter = after is not None and (before is None or (after > before) == (keyword in _LOWER_BOUNDS))
        yield place, _changed(keyword, before, after), is_tighter


def _compare_choices(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[_Told]:
    for keyword in _CHOICES:
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        gone = [each for each in before or [] if after is not None and each not in after]
        if before is None or gone:
            lost = f"{keyword} no longer has {_show(gone)}" if gone else _changed(keyword, before, after)
            yield place, lost, True
        elif after is None or len(after) > len(before):
            yield place, f"{keyword} lets more in", False


def _compare_rules(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[_Told]:
    for keyword in _RULES:
        before, after = old.get(keyword), new.get(keyword)
        if before != after and (before or after):
            yield place, _changed(keyword, before, after), bool(after) and not _is_looser(keyword, before, after)


def _is_looser(keyword: str, before: Any, after: Any) -> bool:
    return keyword == "multipleOf" and bool(before) and before % after == 0


def _changed(keyword: str, before: Any, after: Any) -> str:
    if before is None:
        return f"{keyword} is {_show(after)}, and was not set"
    return f"{keyword} was {_show(before)}" + (
        ", and is not set any more" if after is None else f", and is {_show(after)}"
    )


def _show(value: Any) -> str:
    return ", ".join(map(json.dumps, value)) if isinstance(value, list) else json.dumps(value)


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _as_schema(value: Any) -> Mapping[str, Any]:
    """`true` and a schema that is left out let everything in; `false`, nothing."""
    return value if isinstance(value, dict) else ({"not": {}} if value is False else {})
