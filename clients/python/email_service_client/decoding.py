"""From JSON to the classes of `answers`, by their annotations, and from values of Python to JSON.

Members that a class does not name are passed over, so that a newer service fits. One that is missing or of another
type is a ValueError.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, cast, get_args, get_origin, get_type_hints
from uuid import UUID

T = TypeVar("T")
Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A part of a list, and the cursor of the next one, if there is any."""

    data: list[T]
    next_cursor: str | None = None


def decode(kind: type[T], document: Any) -> T:
    """The document as this class."""
    return cast(T, _reader(cast(Any, kind))(document))


def encode(body: Any) -> bytes:
    """JSON in which times, bytes and UUIDs are written as the service reads them."""
    return json.dumps(body, default=write, allow_nan=False).encode()


def write(value: Any) -> str:
    """One value as a text, in a body or in a query."""
    match value:
        case datetime():
            if value.utcoffset() is None:
                raise ValueError("A time needs a zone, such as datetime.now(UTC).")
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case str() | int() | UUID():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} cannot be sent.")


@cache
def _reader(kind: Any) -> Reader:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in _GENERIC:
        return _GENERIC[origin](*(_reader(each) for each in inner if each is not NoneType))
    if kind is Any:
        return lambda value: value
    if kind is datetime:
        return lambda value: datetime.fromisoformat(_checked(str, value))
    if is_dataclass(kind):
        return _object(cast(type[Any], kind))
    # A word that is new to this version is handed on as it is.
    plain = str if origin is Literal else kind
    return lambda value: _checked(plain, value)


def _checked(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


def _optional(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def _list(read: Reader) -> Reader:
    return lambda value: [read(each) for each in _checked(list, value)]


def _mapping(_name: Reader, read: Reader) -> Reader:
    return lambda value: {name: read(each) for name, each in _checked(dict, value).items()}


def _page(read: Reader) -> Reader:
    read_rows = _list(read)

    def read_page(value: Any) -> Page[Any]:
        document = _checked(dict, value)
        return Page(data=read_rows(document.get("data")), next_cursor=document.get("next_cursor"))

    return read_page


_GENERIC: dict[Any, Callable[..., Reader]] = {UnionType: _optional, list: _list, dict: _mapping, Page: _page}


def _object(kind: type[Any]) -> Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    required = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def read(value: Any) -> Any:
        document = _checked(dict, value)
        if missing := required - document.keys():
            raise ValueError(f"no {min(missing)}")
        return kind(**{name: readers[name](document[name]) for name in readers if name in document})

    return read
