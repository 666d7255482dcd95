"""Remembers for a minute whose key was presented, so that a caller's next request does not have to ask at once.

A key that is recalled is only presumed to be live: whoever relies on that asks the database (`service.is_live`) before
anything is written or answered. Holds hashes of keys and never a key.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime

from email_service.clients.service import LAST_USED_PRECISION, Caller
from email_service.kernel import clock, crypto

_CAPACITY = 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    digest: bytes
    ends_at: datetime


class Keyring:
    """The keys of one process; threads may share it."""

    def __init__(self) -> None:
        self._by_start: dict[str, _Entry] = {}

    def remember(self, presented: str, caller: Caller) -> None:
        """Note whose key this is; only for a key that was just found to be live."""
        if len(self._by_start) >= _CAPACITY:
            self._by_start.clear()
        # No longer than the last use may go without being noted.
        ends_at = clock.now() + LAST_USED_PRECISION
        self._by_start[_start(presented)] = _Entry(caller, crypto.hash_secret(presented), ends_at)

    def recall(self, presented: str) -> Caller | None:
        """Whose key this was less than a minute ago; None when that has to be asked again."""
        entry = self._by_start.get(_start(presented))
        if entry is None or entry.ends_at < clock.now():
            return None
        is_same = hmac.compare_digest(entry.digest, crypto.hash_secret(presented))
        return entry.caller if is_same else None

    def forget(self, presented: str) -> None:
        """The key opens nothing any more, or has to be asked for again."""
        self._by_start.pop(_start(presented), None)


def _start(presented: str) -> str:
    # The part of a key that is no secret, so that looking it up tells nothing.
    return presented[:16]
