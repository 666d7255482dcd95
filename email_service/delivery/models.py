"""The tables that all workers share about the way out: which routes are down, and how fast each may be used.

Both can be emptied at any time; what is lost is that somebody knocks once at a closed door, or a little too early.
"""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base


class RouteBreaker(Base):
    """A route that let nobody in; no row means that mail flows."""

    __tablename__ = "route_breakers"

    route: Mapped[str] = mapped_column(String(50), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)  # the last reply or failure, bounded and printable
    tripped_at: Mapped[datetime]  # when it was first found down
    failure_count: Mapped[int]  # probes and attempts that failed since then
    open_until: Mapped[datetime]  # from then on one probe at a time may knock
    probe_until: Mapped[datetime | None]  # while one worker is knocking


class SendRate(Base):
    """When the next message may leave under one limit (a route, or a domain); the generic cell rate algorithm."""

    __tablename__ = "send_rates"

    key: Mapped[str] = mapped_column(String(330), primary_key=True)  # route:NAME or domain:NAME
    next_at: Mapped[datetime]
