"""How fast mail may leave by one route, or to one domain, counted over all processes (generic cell rate algorithm).

A row says when the next message may leave; whoever wants to send takes places behind it. Knows no message.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from email_service.delivery.models import SendRate
from email_service.kernel.orm import database_now

HORIZON_SECONDS = 0.5  # places further ahead are not given away, so that whoever comes later has a chance at them


@dataclass(frozen=True, slots=True)
class Grant:
    """Places under one limit, each as seconds from now, and when those may ask again who got none."""

    delays: tuple[float, ...]
    next_delay_seconds: float


def reserve(session: Session, key: str, per_second: float, wanted: int, *, is_urgent: bool = False) -> Grant:
    """Up to `wanted` places within the horizon, evenly spaced. Holds the row's lock until the transaction ends.

    Urgent messages leave at once, all of them, and those behind them wait the longer for it.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    there = insert(SendRate).values(key=key, next_at=database_now())
    # Written even where nothing changes: that locks the row, which a purge could otherwise take away before we read it.
    locked = there.on_conflict_do_update(index_elements=["key"], set_={"next_at": SendRate.next_at})
    next_at, now = session.execute(locked.returning(SendRate.next_at, database_now())).one()
    first, interval = max(0.0, (next_at - now).total_seconds()), 1 / per_second
    if is_urgent:
        count, delays = wanted, (0.0,) * wanted
    else:
        count = min(wanted, math.ceil(max(0.0, HORIZON_SECONDS - first) / interval))
        delays = tuple(first + number * interval for number in range(count))
    following_seconds = first + count * interval
    if count:
        session.execute(
            update(SendRate).where(SendRate.key == key).values(next_at=now + timedelta(seconds=following_seconds)),
            execution_options={"synchronize_session": False},
        )
    return Grant(delays, following_seconds)
