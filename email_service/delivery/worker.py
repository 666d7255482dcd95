"""Delivers jobs over one connection, one after the other. Knows its route, no queue and no database.

It holds no transaction and no database connection while it talks to a mail server.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from email_service.delivery.breaker import Breakers
from email_service.delivery.job import Job, Result
from email_service.delivery.letters import Packer
from email_service.delivery.pool import Pool, Seat
from email_service.delivery.transport import Outcome, Parcel, Phase, Report, Transport
from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError, RenderingError

REFUSED_SECONDS = 6.0  # longer than others' mail counts as flowing: who is refused again then knows what it means
IDLE_SECONDS = 5.0  # a connection outlives a short lull; after that it would only take up one of the server's places
CROWDED_SECONDS = 30.0  # a worker that is refused twice while others are served stays away for so long

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Worker:
    """One thread's work; its transport and its seat are its own, all else is shared."""

    pool: Pool
    seat: Seat
    transport: Transport
    packer: Packer
    breakers: Breakers
    settle: Callable[[Result], None]
    give_back: Callable[[Job], None]  # for a job that was not begun
    has_other_route: Callable[[Job], bool]  # now that the breaker of the job's own has opened
    trace: Callable[[Result], None]
    attempt_seconds: float  # an attempt is cut off after this; nothing is begun that could outlive its lease
    _away_until_seconds: float = field(default=0.0, init=False)
    _was_refused: bool = field(default=False, init=False)
    _next: tuple[Job, Parcel, datetime] | None = field(default=None, init=False)

    def run(self) -> None:
        """Deliver until the pool stops."""
        has_connection = False
        while not self.pool.is_stopping():
            if (away_seconds := self._away_until_seconds - clock.monotonic_seconds()) > 0:
                self.transport.close()
                self.pool.rest(away_seconds)
            job = self.pool.take(self.seat, IDLE_SECONDS if has_connection else None)
            if job is None:
                self.transport.close()
            else:
                self._deliver_all(job)
            has_connection = job is not None
        self.transport.close()

    def _deliver_all(self, job: Job) -> None:
        """Deliver the job, and those that its transport began meanwhile."""
        packed = self._pack(job)
        while packed is not None:
            job, parcel, started_at = packed
            if self.breakers.is_open(job.route):
                self.give_back(job)
                return
            self._next = None
            try:
                report, smtp_seconds = self._send(job, parcel)
            except BaseException:  # bare re-raise: what nobody foresaw ends this thread, not the messages it holds
                self._give_next_back()
                raise
            self._conclude(job, report, started_at, smtp_seconds)
            packed = self._next

    def _pack(self, job: Job) -> tuple[Job, Parcel, datetime] | None:
        """The job with its parcel; None when it was given back or has met its fate already."""
        now = clock.monotonic_seconds()
        if now + self.attempt_seconds > job.ends_at_seconds or now >= job.expires_at_seconds:
            # Whoever claims it next sees which of the two it is, by the database's clock.
            self.give_back(job)
            return None
        started_at = clock.now()
        try:
            return job, self.packer.pack(job), started_at
        except (InvalidInputError, RenderingError) as error:
            # The message cannot be made into mail, now or later; a person can mend the cause and retry it.
            report = Report(outcome=Outcome.REFUSED, phase=Phase.PREPARE, reply=error.detail[:500])
        except Exception as error:  # noqa: BLE001 - the guard of the queue
            # One poisonous message must not stop the ones behind it.
            report = self._crash(job, error)
        self._conclude(job, report, started_at)
        return None

    def _send(self, job: Job, parcel: Parcel) -> tuple[Report, float]:
        """What came of it, and how many seconds the transport took."""
        if (wait_seconds := self.pool.find_wait_seconds(job)) > 0:
            time.sleep(wait_seconds)
        begun_at_seconds = clock.monotonic_seconds()
        try:
            report = self.transport.send(parcel=parcel, upcoming=self._find_upcoming)
        except InvalidInputError as error:
            report = Report(outcome=Outcome.REFUSED, phase=Phase.PREPARE, reply=error.detail[:500])
        except Exception as error:  # noqa: BLE001 - the guard of the queue, as above
            report = self._crash(job, error)
        return report, clock.monotonic_seconds() - begun_at_seconds

    def _find_upcoming(self) -> Parcel | None:
        """What the transport may begin while the present message is on its way."""
        job = self.pool.take_another(self.seat)
        if job is None:
            return None
        if job.message.has_attachments or job.starts_at_seconds:
            # Too large to keep two of them at once, or not yet to be sent.
            self.pool.put(job, is_first=True)
            return None
        self._next = self._pack(job)
        return self._next[1] if self._next else None

    def _give_next_back(self) -> None:
        if self._next is not None:
            self.give_back(self._next[0])

    def _conclude(self, job: Job, report: Report, started_at: datetime, smtp_seconds: float = 0.0) -> None:
        pause_seconds = 0.0
        if report.is_transport_fault:
            pause_seconds = self._note_fault(job, report)
        elif report.phase is not Phase.PREPARE:
            self._was_refused = False
            self.seat.flowed_at_seconds = clock.monotonic_seconds()
            self.breakers.reset(job.route)
        result = Result(
            job=job,
            report=report,
            started_at=started_at,
            finished_at=clock.now(),
            smtp_seconds=smtp_seconds,
            pause_seconds=pause_seconds,
        )
        self.trace(result)
        self.settle(result)

    def _note_fault(self, job: Job, report: Report) -> float:
        """What a fault says about the route; how long the message has to wait, 0 if it has another way."""
        if self.pool.is_flowing_elsewhere(self.seat):
            # The server takes others' mail: it has enough connections, and does not want this one.
            _log.warning(
                "connection.refused",
                message_id=str(job.message_id),
                request_id=job.message.request_id,
                route=job.route,
                phase=report.phase,
                reply=report.reply,
            )
            # A server that died a moment ago looks the same; then nobody's mail flows when this worker comes back.
            away_seconds = CROWDED_SECONDS if self._was_refused else REFUSED_SECONDS
            self._away_until_seconds, self._was_refused = clock.monotonic_seconds() + away_seconds, True
            return 0.0
        self._was_refused = False
        pause_seconds = self.breakers.trip(job.route, report.reply)
        return 0.0 if self.has_other_route(job) else pause_seconds

    def _crash(self, job: Job, error: Exception) -> Report:
        _log.exception("delivery.crashed", message_id=str(job.message_id), request_id=job.message.request_id)
        return Report(outcome=Outcome.RETRY_LATER, phase=Phase.PREPARE, reply=f"internal: {type(error).__name__}")
