"""What is followed from a request to the mail server: the words for it, for services that nobody traces too.

A message's row keeps the trace that it was accepted in, because no message travels through the broker. Knows no library
that keeps traces; `kernel.spans` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to hand a message over. Its words hold no address and nothing that a server said."""

    trace_parent: str | None  # of the request that the message came by, as W3C Trace Context writes it
    started_at: datetime
    finished_at: datetime
    words: Mapping[str, str | int]
    is_failed: bool


class RequestSpan(Protocol):
    """One request while it is answered."""

    @property
    def trace_parent(self) -> str:
        """What belongs to this request names this as its parent."""
        ...

    def end(self, words: Mapping[str, str | int], *, is_failed: bool) -> None:
        """It was answered."""
        ...


class Traces(Protocol):
    """Where it is written down."""

    def begin_request(self, trace_parent: str | None) -> RequestSpan | None:
        """A request came in, perhaps as a part of something larger; None when nobody follows it."""
        ...

    def note_attempt(self, attempt: Attempt) -> None:
        """A message was handed over, or not."""
        ...


class NoTraces:
    """For services that nobody traces."""

    def begin_request(self, trace_parent: str | None) -> None:
        """Nobody follows it."""

    def note_attempt(self, attempt: Attempt) -> None:
        """Nobody follows it."""
