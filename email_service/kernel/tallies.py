"""What is counted: one class for each kind of thing that happens, its fields the bounded words it is told apart by.

A tally is noted with the transaction that makes it true and counted once that is committed, so that nothing counts that
was undone. Knows no monitoring system; a class's docstring is what one is told.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

_NOTED = "tallies"


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """Messages by what happened to them."""

    event: str  # accepted, superseded, or the status that was reached
    lane: str
    template: str
    route: str = ""  # of the attempt, if it took one


@dataclass(frozen=True, slots=True)
class TokenIssue:
    """Tokens that were asked for, by what came of it."""

    purpose: str
    outcome: str  # issued, or why not


@dataclass(frozen=True, slots=True)
class TokenRedemption:
    """Tokens and codes that were presented to be redeemed, by what came of it."""

    purpose: str
    outcome: str  # redeemed, repeated, or the code of the error


@dataclass(frozen=True, slots=True)
class QuotaHit:
    """Calls that were refused or passed over because a quota was used up."""

    scope: str


@dataclass(frozen=True, slots=True)
class Handover:
    """Seconds from the time a message was first due until the next server had taken it."""

    lane: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """Seconds that attempts took, by how the mail server's last reply began."""

    route: str
    reply: str  # 2xx, 4xx, 5xx, or none
    seconds: float


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Seconds until requests were answered."""

    method: str
    endpoint: str  # the route's pattern, never a path
    status: str  # 2xx, 3xx, 4xx or 5xx
    seconds: float


Tally = MessageEvent | TokenIssue | TokenRedemption | QuotaHit | Handover | SmtpReply | HttpAnswer
Count = Callable[[Iterable[Tally]], None]


def count_nothing(_tallies: Iterable[Tally]) -> None:
    """For whoever keeps no figures."""


def note(session: Session, *tallies: Tally) -> None:
    """These become true when the session's transaction is committed."""
    session.info.setdefault(_NOTED, []).extend(tallies)


def take(session: Session) -> list[Tally]:
    """What was noted since the last call."""
    noted: list[Tally] = session.info.pop(_NOTED, [])
    return noted


@contextmanager
def counted(sessions: sessionmaker[Session], count: Count) -> Iterator[Session]:
    """A transaction, committed if the block ends well, and then its tallies are counted."""
    with sessions.begin() as session:
        yield session
    count(take(session))
