"""Gives each opened message its route and its time: breakers say which routes are up, rates how soon they may be used.

Who finds no place is put off, each client's messages one behind the other, so that nobody's backlog pushes the others
back. Token mail is never put off for a rate. Knows no worker and no connection.
"""

import math
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session

from email_service.delivery import rates, routing
from email_service.delivery.breaker import Breakers
from email_service.delivery.job import Job
from email_service.delivery.opening import Opened
from email_service.delivery.outbox import Hold, Lease
from email_service.delivery.routing import Route, RouteTable
from email_service.kernel import clock
from email_service.kernel.lanes import LANES

NO_ROUTE_SECONDS = 60.0  # until somebody has changed the settings
MOST_SPREADS = 10_000
EVERY_OTHER_DOMAIN = "*"

_randomness = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class PutOff:
    """A message that cannot leave now, and when to look again."""

    lease: Lease
    hold: Hold
    delay_seconds: float


@dataclass(slots=True, kw_only=True)
class Assigner:
    """What decides about ways and times; one for a process."""

    table: RouteTable
    breakers: Breakers
    domain_rates: Mapping[str, float]  # messages a second by recipient domain; `*`: each other domain by itself
    _spreads: dict[tuple[UUID, str], float] = field(default_factory=dict, init=False)

    def assign(self, session: Session, opened: Sequence[Opened]) -> tuple[list[Job], list[PutOff]]:
        """The jobs that may leave, and what is put off."""
        put_off: list[PutOff] = []
        jobs = []
        probed: set[str] = set()
        for each in opened:
            takers = self.table.find_takers(each.message)
            route = self._choose(session, takers, probed)
            if route is not None:
                jobs.append(_make_job(each, route))
            elif takers:
                delay_seconds = self.breakers.seconds_left(taker.name for taker in takers)
                put_off.append(PutOff(each.lease, Hold.ROUTE_DOWN, delay_seconds))
            else:
                put_off.append(PutOff(each.lease, Hold.NO_ROUTE, NO_ROUTE_SECONDS))
        jobs = self._pace(session, jobs, put_off, Hold.DOMAIN_RATE, self._find_domain_rate)
        return self._pace(session, jobs, put_off, Hold.ROUTE_RATE, self._find_route_rate), put_off

    def has_other_route(self, job: Job) -> bool:
        """Whether the job could leave by a route that is up."""
        takers = self.table.find_takers(job.message)
        return any(taker.name != job.route and self.breakers.is_closed(taker.name) for taker in takers)

    def has_any_route(self) -> bool:
        """Whether it is worth claiming anything: a route is up, or may be tried."""
        return any(not self.breakers.is_open(route.name) for route in self.table.routes)

    def _choose(self, session: Session, takers: Sequence[Route], probed: set[str]) -> Route | None:
        for taker in takers:
            # One message tries a route that was down long enough; without it, nobody would learn that it is up again.
            is_half_open = not (self.breakers.is_closed(taker.name) or self.breakers.is_open(taker.name))
            if is_half_open and taker.name not in probed:
                probed.add(taker.name)
                if self.breakers.take_probe(session, taker.name):
                    return taker
        return routing.choose(takers, self.breakers.is_closed, _randomness.random())

    def _find_route_rate(self, job: Job) -> tuple[str, float] | None:
        rate = next(route.max_rate for route in self.table.routes if route.name == job.route)
        return (f"route:{job.route}", rate) if rate else None

    def _find_domain_rate(self, job: Job) -> tuple[str, float] | None:
        if not self.domain_rates:
            return None
        domain = job.message.recipient_email.rpartition("@")[2]
        rate = self.domain_rates.get(domain) or self.domain_rates.get(EVERY_OTHER_DOMAIN)
        return (f"domain:{domain}", rate) if rate else None

    def _pace(
        self,
        session: Session,
        jobs: Sequence[Job],
        put_off: list[PutOff],
        hold: Hold,
        find_rate: Callable[[Job], tuple[str, float] | None],
    ) -> list[Job]:
        """Those of the jobs that have a place under their limit, with the time of it."""
        free: list[Job] = []
        limited: dict[tuple[str, float, bool], list[Job]] = defaultdict(list)
        for job in jobs:
            limit = find_rate(job)
            if limit is None:
                free.append(job)
            else:
                limited[*limit, job.lane == LANES[0]].append(job)
        # In one order everywhere, or two processes could wait for each other's rows; tokens before the others.
        for (key, rate, is_urgent), asking in sorted(limited.items(), key=lambda each: (each[0][0], not each[0][2])):
            grant = rates.reserve(session, key, rate, len(asking), is_urgent=is_urgent)
            now = clock.monotonic_seconds()
            for job, delay_seconds in zip(asking, grant.delays, strict=False):
                job.starts_at_seconds = max(job.starts_at_seconds, now + delay_seconds)
                free.append(job)
            for job in asking[len(grant.delays) :]:
                delay_seconds = self._spread(job, key, now + grant.next_delay_seconds, 1 / rate) - now
                put_off.append(PutOff(job.lease, hold, delay_seconds))
        return free

    def _spread(self, job: Job, key: str, from_seconds: float, interval_seconds: float) -> float:
        """The next free time in the line of this client under this limit."""
        line = (job.message.client_id, key)
        if len(self._spreads) > MOST_SPREADS:
            self._spreads = {each: until for each, until in self._spreads.items() if until > clock.monotonic_seconds()}
        starts_at = max(from_seconds, self._spreads.get(line, 0.0))
        self._spreads[line] = starts_at + interval_seconds
        return starts_at


def _make_job(opened: Opened, route: Route) -> Job:
    message, ends_at = opened.message, opened.lease.ends_at_seconds
    if message.expires_at is not None:
        left_seconds = (message.expires_at - message.read_at).total_seconds()
        expires_at = clock.monotonic_seconds() + left_seconds
    else:
        expires_at = math.inf
    return Job(
        lease=opened.lease,
        message=message,
        lane=message.lane,
        route=route.name,
        copies=opened.copies,
        held_back=opened.held_back,
        ends_at_seconds=ends_at,
        expires_at_seconds=expires_at,
    )
