"""Keeps all workers from knocking at a mail server that lets nobody in, and lets one of them try again after a while.

The truth is a row for each route that is down; each process remembers what it last read. Knows routes by name only.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery.models import RouteBreaker
from email_service.kernel import clock
from email_service.kernel.orm import database_now

PAUSE_SECONDS = (2.0, 4.0, 8.0, 16.0, 30.0)  # after each failure in a row; the last one again and again
PROBE_SECONDS = 60.0  # a prober that says nothing for so long has died

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outage:
    """One route that is down, as its row says."""

    reason: str
    failure_count: int
    seconds_left: float  # until a probe may knock; not above 0: now


@dataclass(frozen=True, slots=True)
class _Known:
    """An outage as this process remembers it."""

    failure_count: int
    ends_at_seconds: float  # of the pause, on clock.monotonic_seconds


class Breakers:
    """The breakers of all routes, as one process knows them; a route without an outage is closed, mail flows."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._outages: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def is_closed(self, route: str) -> bool:
        """Whether mail flows over the route."""
        return route not in self._outages

    def is_open(self, route: str) -> bool:
        """Whether even a probe would be too early."""
        return self._seconds_left(route) > 0

    def seconds_left(self, routes: Iterable[str]) -> float:
        """How long until the first of these routes may be tried, at least a second."""
        return max(1.0, min((self._seconds_left(route) for route in routes), default=1.0))

    def trip(self, route: str, reason: str) -> float:
        """The route let nobody in: nobody knocks for a while, in any process; how many seconds that is."""
        with self._lock:
            if (seconds_left := self._seconds_left(route)) > 0:
                # Other connections of the same moment found it out before.
                return seconds_left
            count = self._outages[route].failure_count + 1 if route in self._outages else 1
            pause_seconds = PAUSE_SECONDS[min(count, len(PAUSE_SECONDS)) - 1]
            self._outages[route] = _Known(count, clock.monotonic_seconds() + pause_seconds)
        _log.error("route.down", route=route, reason=reason, failure_count=count, pause_seconds=pause_seconds)
        self._write(lambda session: _write_outage(session, route, reason, count, pause_seconds))
        return pause_seconds

    def reset(self, route: str) -> None:
        """Mail flows over the route (again)."""
        if self.is_closed(route):
            return
        with self._lock:
            self._outages.pop(route, None)
        _log.info("route.up", route=route)
        self._write(lambda session: session.execute(delete(RouteBreaker).where(RouteBreaker.route == route)))

    def refresh(self, session: Session) -> None:
        """Learn what other processes found out."""
        now = clock.monotonic_seconds()
        known = {
            route: _Known(outage.failure_count, now + outage.seconds_left)
            for route, outage in find_outages(session).items()
        }
        with self._lock:
            self._outages = known

    def take_probe(self, session: Session, route: str) -> bool:
        """Whether this process is the one that may try the route with one message now."""
        taken = session.execute(
            update(RouteBreaker)
            .where(
                RouteBreaker.route == route,
                RouteBreaker.open_until <= database_now(),
                or_(RouteBreaker.probe_until.is_(None), RouteBreaker.probe_until <= database_now()),
            )
            .values(probe_until=database_now(timedelta(seconds=PROBE_SECONDS)))
            .returning(RouteBreaker.route),
            execution_options={"synchronize_session": False},
        )
        return taken.first() is not None

    def _seconds_left(self, route: str) -> float:
        outage = self._outages.get(route)
        return outage.ends_at_seconds - clock.monotonic_seconds() if outage else 0.0

    def _write(self, act: Callable[[Session], object]) -> None:
        try:
            with self._sessions.begin() as session:
                act(session)
        except SQLAlchemyError as error:
            # This process knows; the others find out by themselves.
            _log.warning("breaker.not_shared", error=type(error).__name__)


def find_outages(session: Session) -> Mapping[str, Outage]:
    """The routes that are down, by name."""
    rows = session.execute(
        select(
            RouteBreaker.route, RouteBreaker.reason, RouteBreaker.failure_count, RouteBreaker.open_until, database_now()
        )
    )
    return {
        route: Outage(reason, failure_count, (open_until - now).total_seconds())
        for route, reason, failure_count, open_until, now in rows
    }


def _write_outage(session: Session, route: str, reason: str, count: int, pause_seconds: float) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    open_until = database_now(timedelta(seconds=pause_seconds))
    statement = insert(RouteBreaker).values(
        route=route,
        reason=reason,
        tripped_at=database_now(),
        failure_count=count,
        open_until=open_until,
        probe_until=None,
    )
    renewed = {
        "reason": reason,
        "failure_count": count,
        "open_until": open_until,
        "probe_until": None,
    }
    session.execute(statement.on_conflict_do_update(index_elements=["route"], set_=renewed))
