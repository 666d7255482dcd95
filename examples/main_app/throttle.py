"""Counts tries, so that neither passwords can be guessed nor a mailbox filled. Knows buckets, and not what is tried."""

import time

from main_app import database
from main_app.faults import FaultError

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# What is counted, how many are let through, and in how many seconds.
_LIMITS = {
    "sign-in by network and address": (5, 15 * _MINUTE),
    "sign-in by network": (50, 15 * _MINUTE),
    "sign-in by address": (100, _DAY),  # the most that NIST SP 800-63B 3.2.2 allows in a row
    "sign-up by network": (20, _HOUR),
    "sign-up by address": (3, _HOUR),
    "invitation by user": (20, _DAY),
}


def take(*wanted: tuple[str, str]) -> None:
    """Count one try for each kind and key; FaultError when one of them had enough."""
    for kind, key in wanted:
        if not is_free(kind, key):
            raise FaultError("rate_limited", retry_after=str(_LIMITS[kind][1]))


def is_free(kind: str, key: str) -> bool:
    """Count one try before it is made, or find that there were enough; of any number at once, none slips through."""
    most, seconds = _LIMITS[kind]
    bucket, now = f"{kind} {key}", time.time()
    with database.transaction() as connection:
        connection.execute("DELETE FROM attempts WHERE made_at < ?", (now - _DAY,))
        made = connection.execute(
            "SELECT count(*) FROM attempts WHERE bucket = ? AND made_at > ?", (bucket, now - seconds)
        ).fetchone()[0]
        if made < most:
            connection.execute("INSERT INTO attempts VALUES (?, ?)", (bucket, now))
    return bool(made < most)


def forget(kind: str, key: str) -> None:
    """What was tried in vain before it succeeded does not count any more."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM attempts WHERE bucket = ?", (f"{kind} {key}",))
