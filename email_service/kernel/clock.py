"""The only place that reads the time. Knows nothing of the database's clock, which alone decides leases and expiry."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, in UTC and aware of it."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Seconds on a clock that no NTP step moves; only differences mean anything."""
    return time.monotonic()


def written(instant: datetime) -> str:
    """The instant as it is written everywhere: RFC 3339, in UTC, to the millisecond."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
