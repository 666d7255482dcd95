"""The jobs of one route that wait inside this process, and the workers that take them: tokens first, then by lane.

Knows neither database nor transport; an idle worker is chosen last in, first out, so that few connections stay in use.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from email_service.delivery.job import Job
from email_service.delivery.routing import Route
from email_service.kernel import clock
from email_service.kernel.lanes import LANES

FLOWING_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Seat:
    """One worker's place in a pool."""

    lanes: Sequence[str]  # that it serves, in its order
    is_reserved: bool
    handed: Job | None = None
    event: threading.Event = field(default_factory=threading.Event)
    flowed_at_seconds: float = float("-inf")  # when a server last took or refused a message on this connection


class Pool:
    """Hands each job to exactly one worker. One of several workers is kept for tokens (guarantee 4)."""

    def __init__(self, route: Route, lanes: Sequence[str]) -> None:
        self.route = route
        self._lanes = tuple(lanes)
        self._waiting: dict[str, deque[Job]] = {lane: deque() for lane in lanes}
        self._idle: list[Seat] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._seats: list[Seat] = []
        self._next_start_seconds = 0.0  # under the route's rate, of this process alone

    def make_seats(self) -> list[Seat]:
        """As many as the route has connections; of two or more, one is for token mail alone if there is other mail."""
        is_shared = self._lanes[:1] == LANES[:1] and len(self._lanes) > 1
        reserved = self._lanes[:1] if is_shared and self.route.connections > 1 else ()
        seats = [Seat(self._lanes, is_reserved=False) for _ in range(self.route.connections - len(reserved))]
        self._seats = [*seats, *(Seat([lane], is_reserved=True) for lane in reserved)]
        return list(self._seats)

    def put(self, job: Job, *, is_first: bool = False) -> None:
        """Hand the job to an idle worker, or let it wait for one: behind the others of its lane, or before them."""
        with self._lock:
            # The reserved worker only when nobody else is idle.
            for is_reserved in (False, True):
                for seat in reversed(self._idle):
                    if seat.is_reserved is is_reserved and job.lane in seat.lanes:
                        self._idle.remove(seat)
                        seat.handed = job
                        seat.event.set()
                        return
            waiting = self._waiting[job.lane]
            waiting.appendleft(job) if is_first else waiting.append(job)

    def take(self, seat: Seat, patience_seconds: float | None) -> Job | None:
        """The next job for this worker; None when there is none for so long, or when it is time to stop."""
        with self._lock:
            job = self._pop(seat)
            if job is not None or self.is_stopping():
                return job
            seat.event.clear()
            self._idle.append(seat)
        seat.event.wait(patience_seconds)
        with self._lock:
            if seat in self._idle:
                self._idle.remove(seat)
            job, seat.handed = seat.handed, None
            return job

    def take_another(self, seat: Seat) -> Job | None:
        """A further job for a worker that is still busy, if it would not rather go to one that is idle."""
        with self._lock:
            if any(not each.is_reserved for each in self._idle):
                return None
            return self._pop(seat)

    def find_wait_seconds(self, job: Job) -> float:
        """How long its worker has to wait with the job; where places were missed, they are not made up for at once."""
        with self._lock:
            now = clock.monotonic_seconds()
            starts_at = max(job.starts_at_seconds, self._next_start_seconds, now)
            if self.route.max_rate:
                self._next_start_seconds = starts_at + 1 / self.route.max_rate
            return starts_at - now

    def is_flowing_elsewhere(self, seat: Seat) -> bool:
        """Whether mail went over another connection just now, so that one that fails says little about the route."""
        since = clock.monotonic_seconds() - FLOWING_SECONDS
        return any(each.flowed_at_seconds > since for each in self._seats if each is not seat)

    def is_stopping(self) -> bool:
        """Whether the workers are to end."""
        return self._stopping.is_set()

    def rest(self, seconds: float) -> None:
        """Let a worker stay away for so long, or until it is time to stop."""
        self._stopping.wait(seconds)

    def ask_to_stop(self) -> None:
        """Hand out nothing more; safe in a signal handler, for it waits for no lock of ours."""
        self._stopping.set()
        for seat in list(self._idle):
            seat.event.set()

    def take_all(self) -> list[Job]:
        """The jobs that nobody has begun, taken away from the workers."""
        with self._lock:
            jobs = [job for waiting in self._waiting.values() for job in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
            return jobs

    def _pop(self, seat: Seat) -> Job | None:
        if self.is_stopping():
            return None
        for lane in seat.lanes:
            if self._waiting[lane]:
                return self._waiting[lane].popleft()
        return None
