"""How one definition of a call serves both clients.

A room is a group of calls over a transport. Each of its methods says what to ask; decorated, it asks, and returns the
answer in a blocking room, and in an awaiting room what is awaited for the answer.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from email_service_client.calls import Errand, Listing
from email_service_client.transports import Awaiting, Blocking

T = TypeVar("T")
P = ParamSpec("P")
TransportT = TypeVar("TransportT", bound=Blocking | Awaiting)


class Room(Generic[TransportT]):
    """A group of calls."""

    def __init__(self, transport: TransportT) -> None:
        self.transport = transport


class asks(Generic[P, T]):  # noqa: N801 - a decorator
    """For a method that returns a call: it is made."""

    def __init__(self, build: Callable[Concatenate[Any, P], Errand[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, room: Room[Blocking], owner: type[Any]) -> Callable[P, T]: ...
    @overload
    def __get__(self, room: Room[Awaiting], owner: type[Any]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, room: Room[Any], owner: type[Any]) -> Callable[P, Any]:
        @wraps(self.build)
        def ask(*args: P.args, **kwargs: P.kwargs) -> Any:
            return room.transport.run(self.build(room, *args, **kwargs))

        return ask


class lists(Generic[P, T]):  # noqa: N801 - a decorator
    """For a method that returns a listing: its items come one by one, each page when it is needed."""

    def __init__(self, build: Callable[Concatenate[Any, P], Listing[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, room: Room[Blocking], owner: type[Any]) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, room: Room[Awaiting], owner: type[Any]) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, room: Room[Any], owner: type[Any]) -> Callable[P, Any]:
        @wraps(self.build)
        def ask(*args: P.args, **kwargs: P.kwargs) -> Any:
            return room.transport.pages(self.build(room, *args, **kwargs))

        return ask
