"""What passes between the logic of a call and whatever carries it: a request out, a reply or its loss back.

A conversation yields requests and is sent what became of each; what it returns is what the call came to. So retries,
pages and keys are written once, and neither a socket nor an event loop is known here.
"""

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, to be sent after so many seconds."""

    method: str
    url: str = field(repr=False)  # an address or a subject may be in it
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. The names of `headers` are found in any case of letters."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        return HTTPStatus(200) <= self.status < HTTPStatus(300)

    @property
    def retry_after(self) -> float | None:
        """The seconds of Retry-After, which may also be a date (RFC 9110 10.2.3)."""
        told = self.headers.get("Retry-After", "")
        if told.isdecimal():
            return float(told)
        with suppress(ValueError):
            return max(0.0, (parsedate_to_datetime(told).astimezone(UTC) - datetime.now(UTC)).total_seconds())
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """No reply, and why; whether the request can have arrived all the same."""

    reason: str
    may_have_arrived: bool


Outcome = Reply | Lost
Conversation = Generator[Request, Outcome, T]
