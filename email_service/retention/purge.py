"""Walks through everything old, batch by batch, each in a transaction of its own, and leaves the database room to work.

Knows how far it has come; what is old, and how it is deleted, `policy` and `batches` know.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from email_service.kernel import clock
from email_service.retention.batches import KINDS, START, Kind
from email_service.retention.policy import Policy

BATCH = 200  # messages with their children; locked for 16 ms, and for less than 50 when the machine is busy
TURN_SECONDS = 10.0  # so long one call of `tidy` lasts at most, before the next one goes on
_LONGEST_REST_SECONDS = 1.0


@dataclass(slots=True)
class Purge:
    """One process's way through what is old; the next call goes on where this one stopped.

    Nothing depends on the place that is remembered: a process that forgets it begins at the oldest row again, and finds
    there what had to stay.
    """

    sessions: sessionmaker[Session]
    policy: Policy
    limit: int = BATCH
    _left: deque[Kind] = field(default_factory=deque)  # the kinds whose end this round has not reached
    _cursors: dict[str, UUID] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def tidy(self, seconds: float = TURN_SECONDS) -> int:
        """Delete for a while, or until nothing is old; how many rows that were. The next call goes on from there."""
        if not self._turn.acquire(blocking=False):
            return 0  # another thread of this process is at it
        try:
            ends_at = clock.monotonic_seconds() + seconds
            return self._round(lambda _: clock.monotonic_seconds() < ends_at).total()
        finally:
            self._turn.release()

    def run(self, tell: Callable[[Mapping[str, int]], None]) -> Counter[str]:
        """Delete until nothing is old, and `tell` after each batch what is gone so far, by kind."""

        def go_on(removed: Counter[str]) -> bool:
            tell(removed)
            return True

        return self._round(go_on)

    def _round(self, go_on: Callable[[Counter[str]], bool]) -> Counter[str]:
        """A batch of each kind in turn, so that a long walk through one of them does not keep the others waiting."""
        removed: Counter[str] = Counter({kind.name: 0 for kind in KINDS})
        self._left = self._left or deque(KINDS)
        while self._left:
            kind = self._left.popleft()
            if not self._step(kind, removed):
                self._left.append(kind)
            if not go_on(removed):
                break
        return removed

    def _step(self, kind: Kind, removed: Counter[str]) -> bool:
        """One batch, committed, and a rest as long as it took; whether the end of this kind is reached."""
        began_at = clock.monotonic_seconds()
        with self.sessions.begin() as session:
            batch = kind.purge(session, self.policy.cutoffs(), self._cursors.get(kind.name, START), self.limit)
        removed[kind.name] += batch.removed
        self._cursors[kind.name] = batch.cursor or START
        if batch.cursor is not None:
            # Half of the time belongs to the others: SQLite has one writer, and a disk has one arm.
            time.sleep(min(clock.monotonic_seconds() - began_at, _LONGEST_REST_SECONDS))
        return batch.cursor is None


def count(session: Session, policy: Policy) -> dict[str, int]:
    """How many rows of each kind are old now; reads all of them, so it is for people and not for a schedule."""
    cutoffs = policy.cutoffs()
    return {kind.name: kind.count(session, cutoffs) for kind in KINDS}
