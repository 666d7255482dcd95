"""Takes what is due, delivers it and says how much that was. The same loop serves the local runner and Celery."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from email_service.delivery import outbox
from email_service.delivery.breaker import Breaker
from email_service.delivery.outbox import Lease
from email_service.delivery.transport import Phase, Report
from email_service.delivery.worker import Worker
from email_service.kernel import clock

BATCH = 10
IDLE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Drain:
    """One thread's way to empty the outbox of its lanes."""

    worker: Worker
    breaker: Breaker
    lanes: Sequence[str]
    lease_seconds: float
    attempt_seconds: float  # an attempt is cut off after this; a lease that could end during one is given back instead
    _worked_at_seconds: float = field(default_factory=clock.monotonic_seconds)

    def run(self, must_stop: Callable[[], bool]) -> int:
        """Deliver until nothing is due, the transport is down or it is time to stop; how many were taken on.

        Messages that were claimed and not begun are given back before this returns.
        """
        handled = 0
        while not (must_stop() or self.breaker.is_open()):
            leases = self._claim()
            begun = self._deliver(leases, must_stop)
            handled += begun
            # What was given back is still due.
            if begun == len(leases) < BATCH:
                break
        self._rest(handled)
        return handled

    def close(self) -> None:
        """Let the transport's connection go."""
        self.worker.transport.close()

    def _rest(self, handled: int) -> None:
        # A connection outlives a short lull; after that it would only take up one of the server's places.
        if handled:
            self._worked_at_seconds = clock.monotonic_seconds()
        elif clock.monotonic_seconds() - self._worked_at_seconds > IDLE_SECONDS:
            self.close()

    def _claim(self) -> list[Lease]:
        with self.worker.sessions.begin() as session:
            return outbox.claim(session, self.lanes, BATCH, self.lease_seconds)

    def _deliver(self, leases: Sequence[Lease], must_stop: Callable[[], bool]) -> int:
        waiting = deque(leases)
        try:
            while waiting and not (must_stop() or self.breaker.is_open()):
                ends_before_done = clock.monotonic_seconds() + self.attempt_seconds > waiting[0].ends_at_seconds
                if ends_before_done and len(waiting) < len(leases):
                    break
                self._watch(self.worker.deliver(waiting.popleft()))
        finally:
            if waiting:
                self._release(waiting)
        return len(leases) - len(waiting)

    def _release(self, leases: Collection[Lease]) -> None:
        with self.worker.sessions.begin() as session:
            outbox.release(session, leases)

    def _watch(self, report: Report | None) -> None:
        if report is None or report.phase is Phase.PREPARE:
            return  # no server was asked
        transport = self.worker.transport.name
        if report.is_transport_fault:
            if self.breaker.trip():
                _log.error("transport.down", transport=transport, reply=report.reply)
        elif self.breaker.reset():
            _log.info("transport.up", transport=transport)
