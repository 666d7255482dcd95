"""One process's delivery: claims what is due, hands it to the workers, and keeps the leases of what is here.

Workers send and a settler writes what came of it; this room knows neither a protocol nor a template.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery import opening, outbox
from email_service.delivery.assignment import Assigner, PutOff
from email_service.delivery.job import Job, Result
from email_service.delivery.pool import Pool, Seat
from email_service.delivery.round import Round
from email_service.delivery.settlement import Rules
from email_service.delivery.settler import Settler
from email_service.delivery.worker import Worker
from email_service.kernel import clock, tallies
from email_service.kernel.tallies import Count

BATCH = 100  # messages of one claim, at most
KEEP_SECONDS = 1.0
ROOM_FACTOR = 16  # messages of a lane that wait here, for each connection

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outfit:
    """What a dispatcher works with."""

    sessions: sessionmaker[Session]
    glances: sessionmaker[Session]  # every statement a transaction of its own
    assigner: Assigner
    rules: Rules
    lanes: Sequence[str]  # that this process serves, the first ones first
    lease_seconds: float
    prepare: Callable[[], None]  # what is better done before the first message than with it
    count: Count
    pulse: Callable[[], None]  # called about every second, as long as leases are being kept


class Dispatcher:
    """Drains lanes; every thread may ask it to, and at most one at a time drains a lane."""

    def __init__(self, outfit: Outfit, make_worker: "Callable[[Pool, Seat, Dispatcher], Worker]") -> None:
        self._outfit = outfit
        self._pools = {route.name: Pool(route, outfit.lanes) for route in outfit.assigner.table.routes}
        self._held: dict[UUID, Job] = {}
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._settler = Settler(outfit.sessions, outfit.rules, self._forget, outfit.count)
        self._rounds = {lane: Round(outfit.glances, lane) for lane in outfit.lanes}
        self._drainers = {lane: threading.Lock() for lane in outfit.lanes}
        self._asked = {lane: threading.Event() for lane in outfit.lanes}
        workers = [make_worker(pool, seat, self) for pool in self._pools.values() for seat in pool.make_seats()]
        self._threads = [
            threading.Thread(target=worker.run, name=f"delivery-{number}", daemon=True)
            for number, worker in enumerate(workers, start=1)
        ]
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._room = max(20, ROOM_FACTOR * len(workers))

    def start(self) -> None:
        """Start the threads; nothing is claimed before somebody drains."""
        self._attempt(self._look_at_routes)
        self._settler.start()
        for thread in (*self._threads, self._keeper):
            thread.start()

    def drain(self, lane: str) -> int:
        """Hand out what is due in the lane until nothing is, or every route is down; how many messages that was.

        Returns at once while another thread drains the lane, which then looks once more. Waits where the workers have
        enough to do.
        """
        handled = 0
        if lane not in self._drainers:
            return handled
        self._asked[lane].set()
        # Asked again after the lock is free: who came a moment before that went away in the belief to be heard.
        while self._asked[lane].is_set() and self._drainers[lane].acquire(blocking=False):
            try:
                self._asked[lane].clear()
                handled += self._drain(lane)
            finally:
                self._drainers[lane].release()
        return handled

    def _drain(self, lane: str) -> int:
        handled = 0
        while (room := self._wait_for_room(lane)) and self._outfit.assigner.has_any_route():
            count = self._claim(lane, min(room, BATCH))
            if not count:
                break
            handled += count
        return handled

    def settle(self) -> None:
        """Wait until everything that was handed out is written down."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held)

    def add_result(self, result: Result) -> None:
        """An attempt is over."""
        self._settler.add(result)

    def give_back(self, job: Job) -> None:
        """Nobody began to send this; whoever claims it next may."""
        self._settler.give_back([job])

    def ask_to_stop(self) -> None:
        """Begin nothing new from now on; safe in a signal handler."""
        self._stopping.set()
        for pool in self._pools.values():
            pool.ask_to_stop()

    def stop(self, timeout_seconds: float) -> bool:
        """Finish what is in flight, give the rest back, write everything down; whether that was done in time."""
        ends_at = clock.monotonic_seconds() + timeout_seconds
        self.ask_to_stop()
        with self._changed:
            self._changed.notify_all()
        for drainer in self._drainers.values():
            # Kept for good: whoever claims at this moment comes to an end first, and nobody begins after that.
            drainer.acquire(timeout=max(0.0, ends_at - clock.monotonic_seconds()))
        self._settler.give_back([job for pool in self._pools.values() for job in pool.take_all()])
        for thread in self._threads:
            thread.join(max(0.0, ends_at - clock.monotonic_seconds()))
        has_ended = not any(thread.is_alive() for thread in self._threads)
        self._ended.set()
        return self._settler.end(max(0.1, ends_at - clock.monotonic_seconds())) and has_ended

    def _wait_for_room(self, lane: str) -> int:
        """How many more messages of the lane may be claimed, once that is worth a claim; 0: it is time to stop."""
        enough = self._room - min(BATCH, self._room // 2)
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or self._counts[lane] <= enough)
            return 0 if self._stopping.is_set() else self._room - self._counts[lane]

    def _claim(self, lane: str, limit: int) -> int:
        """Claim for the clients whose turn it is; how many messages that was, sent or not."""
        clients = self._rounds[lane].take_turns()
        if not clients:
            return 0
        outfit, share = self._outfit, -(-limit // len(clients))
        with tallies.counted(outfit.sessions, outfit.count) as session:
            of_client = {
                client_id: outbox.claim(session, lane, client_id, share, outfit.lease_seconds) for client_id in clients
            }
            leases = [lease for claimed in of_client.values() for lease in claimed]
            opened = opening.open_claimed(session, outfit.rules.catalog, leases)
            jobs, put_off = outfit.assigner.assign(session, opened)
            self._write_put_off(session, put_off)
        self._rounds[lane].come_again(client_id for client_id, claimed in of_client.items() if len(claimed) == share)
        with self._changed:
            self._held |= {job.message_id: job for job in jobs}
            self._counts[lane] += len(jobs)
        for job in jobs:
            self._pools[job.route].put(job)
        # A client had its turn although nothing of it was due any more: there may be others, whom the next look finds.
        return len(leases) or len(clients)

    def _forget(self, jobs: Sequence[Job]) -> None:
        with self._changed:
            for job in jobs:
                if self._held.pop(job.message_id, None) is not None:
                    self._counts[job.lane] -= 1
            self._changed.notify_all()

    def _write_put_off(self, session: Session, put_off: Sequence[PutOff]) -> None:
        alike: dict[tuple[outbox.Hold, float], list[outbox.Lease]] = defaultdict(list)
        for each in put_off:
            alike[each.hold, each.delay_seconds].append(each.lease)
        for (hold, delay_seconds), leases in alike.items():
            outbox.give_back(session, leases, delay_seconds, hold)

    def _keep(self) -> None:
        """Renew the leases of what is here and learn how the routes are; also while the last attempts are finished."""
        self._outfit.prepare()
        renewed_at = clock.monotonic_seconds()
        while not self._ended.wait(KEEP_SECONDS):
            self._outfit.pulse()
            self._attempt(self._look_at_routes)
            if clock.monotonic_seconds() - renewed_at > self._outfit.lease_seconds / 4:
                renewed_at = clock.monotonic_seconds()
                self._attempt(self._renew)

    def _look_at_routes(self) -> None:
        with self._outfit.glances() as session:
            self._outfit.assigner.breakers.refresh(session)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SQLAlchemyError as error:
            # The next turn tries again; meanwhile leases last, and routes are as they were.
            _log.error("database.unavailable", error=type(error).__name__)

    def _renew(self) -> None:
        with self._changed:
            jobs = list(self._held.values())
        if not jobs:
            return
        asked_at = clock.monotonic_seconds()
        with self._outfit.sessions.begin() as session:
            kept = outbox.renew(session, [job.lease for job in jobs], self._outfit.lease_seconds)
        for job in jobs:
            if job.message_id in kept:
                job.ends_at_seconds = asked_at + self._outfit.lease_seconds
