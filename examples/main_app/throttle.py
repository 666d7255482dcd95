"""Counts tries, so that neither passwords can be guessed nor a mailbox filled. Knows buckets, and not what is tried."""

import time
from ipaddress import ip_address, ip_network

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


def network(reader: str) -> str:
    """What a reader is counted by. Whoever has one address of IPv6 has a /64 of them (RFC 6177)."""
    try:
        address = ip_address(reader.partition("%")[0])
    except ValueError:
        return "unknown"
    if address.version == 4:  # noqa: PLR2004 - the version's name
        return str(address)
    return str(address.ipv4_mapped or ip_network((int(address), 64), strict=False))


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


def give_back(*taken: tuple[str, str]) -> None:
    """A try that succeeded was none: an office behind one address signs in as often as it likes."""
    with database.transaction() as connection:
        for kind, key in taken:
            connection.execute(
                "DELETE FROM attempts WHERE rowid ="
                " (SELECT rowid FROM attempts WHERE bucket = ? ORDER BY made_at DESC LIMIT 1)",
                (f"{kind} {key}",),
            )


def forget(kind: str, key: str) -> None:
    """What was tried in vain before it succeeded does not count any more."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM attempts WHERE bucket = ?", (f"{kind} {key}",))
