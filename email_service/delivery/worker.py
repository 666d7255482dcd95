"""Delivers one leased message, from its row to its outcome. Knows no queue beyond its lease and no protocol.

It holds no transaction and no database connection while it talks to a mail server.
"""

import secrets
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery import letters, outbox, retry
from email_service.delivery.letters import Enclosed
from email_service.delivery.outbox import Lease
from email_service.delivery.transport import Outcome, Parcel, Phase, Report, Transport
from email_service.kernel import clock
from email_service.kernel.crypto import Sealer
from email_service.kernel.errors import InvalidInputError, RenderingError
from email_service.kernel.orm import database_now
from email_service.messages import service as messages
from email_service.messages import state
from email_service.messages.models import DeliveryAttempt, Message
from email_service.messages.state import Status
from email_service.messages.submission import Mailbox
from email_service.rendering.catalog import Catalog
from email_service.rendering.renderer import Renderer
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason

MAX_LOST_LEASES = 5
DATABASE_PAUSE_SECONDS = 0.5

_log = structlog.get_logger(__name__)
_randomness = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class _Opened:
    """What was taken out of the database before the connection was given back."""

    message: Message
    variables: dict[str, object]
    enclosed: Enclosed
    held_back: frozenset[str]  # addresses of copies that must not be mailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Everything one thread needs to deliver; its transport is its own."""

    sessions: sessionmaker[Session]
    catalog: Catalog
    renderer: Renderer
    sealer: Sealer
    transport: Transport
    default_sender: Mailbox
    retry_delays: tuple[int, ...]

    def deliver(self, lease: Lease) -> Report | None:
        """Take the message to its next status. The report of the attempt, or None when nothing was tried."""
        started_at = clock.now()
        structlog.contextvars.bind_contextvars(message_id=str(lease.message_id))
        try:
            opened = self._open(lease)
            if opened is None:
                return None
            report = self.transport.send(parcel=self._pack(opened))
            report = replace(report, refused={**report.refused, **dict.fromkeys(opened.held_back, "suppressed")})
        except (InvalidInputError, RenderingError) as error:
            # The message cannot be made into mail, now or later; a person can mend the cause and retry it.
            report = Report(outcome=Outcome.REFUSED, phase=Phase.PREPARE, reply=error.detail[:500])
        except Exception as error:  # noqa: BLE001 - the guard of the queue
            # One poisonous message must not stop the ones behind it.
            _log.exception("delivery.crashed")
            report = Report(outcome=Outcome.RETRY_LATER, phase=Phase.PREPARE, reply=f"internal: {type(error).__name__}")
        finally:
            structlog.contextvars.unbind_contextvars("message_id")
        self._settle_surely(lease, report, started_at)
        return report

    def _settle_surely(self, lease: Lease, report: Report, started_at: datetime) -> None:
        """Write the outcome down, however long the database is away: forgetting it would send the message again."""
        while True:
            try:
                return self._settle(lease, report, started_at)
            except (OperationalError, InterfaceError):
                # While the database is away nobody can claim the message either, so there is no end to wait for.
                _log.warning("delivery.outcome_waits", message_id=str(lease.message_id), outcome=report.outcome)
                time.sleep(DATABASE_PAUSE_SECONDS)

    def _open(self, lease: Lease) -> _Opened | None:
        with self.sessions.begin() as session:
            message = outbox.read_leased(session, lease)
            if message is None:
                return None
            if lease.claimed_from is Status.SENDING:
                state.record(message, "message.lease_lost", lost_leases=message.lost_lease_count)
            if hindrance := self._find_hindrance(session, message, lease):
                # Before anything is written, the lock makes sure that the message is still ours.
                if outbox.find_leased(session, lease):
                    state.apply(message, hindrance[0], reason=hindrance[1])
                return None
            copies = letters.find_copies(message)
            held_back = suppressions.suppressed_among(session, copies)
            mailable = tuple(email for email in copies if email not in held_back)
            return _Opened(
                message,
                messages.open_variables(self.sealer, message),
                Enclosed(messages.open_attachments(self.sealer, message), mailable),
                held_back,
            )

    def _find_hindrance(self, session: Session, message: Message, lease: Lease) -> tuple[Status, str] | None:
        """Why the message must not be sent after all: the status that says so, and the reason; None if it may."""
        may_have_left = message.uncertain_count + message.lost_lease_count > 0
        if outbox.is_expired(session, message):
            # `expired` would say that it was never sent.
            return Status.UNCERTAIN if may_have_left else Status.EXPIRED, "expires_at_passed"
        if suppression := suppressions.find(session, message.recipient_email):
            return Status.SUPPRESSED, suppression.reason
        # A worker died with this message in its hands: its last bytes may or may not have left the house.
        is_lost = lease.claimed_from is Status.SENDING
        if is_lost and (self._holds(message) or message.lost_lease_count > MAX_LOST_LEASES):
            return Status.UNCERTAIN, "lease_lost"
        return None

    def _pack(self, opened: _Opened) -> Parcel:
        message = opened.message
        rendered = self.renderer.render(message.template, opened.variables, message.locale)
        return letters.pack(message, rendered, opened.enclosed, self.default_sender)

    def _settle(self, lease: Lease, report: Report, started_at: datetime) -> None:
        with self.sessions.begin() as session:
            message = outbox.find_leased(session, lease)
            session.add(self._attempt(lease, report, started_at))
            if message is None:
                _log.warning("delivery.lease_lost", message_id=str(lease.message_id), outcome=report.outcome)
                return
            decision = retry.decide(report, self._history(message), self.retry_delays, _randomness.random())
            self._apply(session, message, report, decision)
        _log.info(
            f"message.{decision.status}",
            message_id=str(lease.message_id),
            reason=decision.reason,
            phase=report.phase,
            code=report.code,
        )

    def _apply(self, session: Session, message: Message, report: Report, decision: retry.Decision) -> None:
        evidence = {"code": report.code, "enhanced_code": report.enhanced_code, "reply": report.reply}
        state.apply(message, decision.status, reason=decision.reason, phase=report.phase, **evidence)
        message.attempt_count += decision.counts_attempt
        message.uncertain_count += report.outcome is Outcome.UNCERTAIN
        if decision.delay_seconds is not None:
            message.due_at = _next_look(message, decision.delay_seconds)
        if decision.suppresses:
            suppressions.suppress(session, message.recipient_email, Reason.HARD_BOUNCE, message.id)

    def _attempt(self, lease: Lease, report: Report, started_at: datetime) -> DeliveryAttempt:
        return DeliveryAttempt(
            message_id=lease.message_id,
            transport=self.transport.name,
            started_at=started_at,
            finished_at=clock.now(),
            outcome=report.outcome,
            phase=report.phase,
            code=report.code,
            enhanced_code=report.enhanced_code,
            reply=report.reply,
            refused=dict(report.refused),
        )

    def _history(self, message: Message) -> retry.History:
        return retry.History(
            age_seconds=(clock.now() - message.round_began_at).total_seconds(),
            attempt_count=message.attempt_count,
            uncertain_count=message.uncertain_count,
            holds_when_uncertain=self._holds(message),
        )

    def _holds(self, message: Message) -> bool:
        return message.template in self.catalog and self.catalog.get(message.template).on_uncertain == "hold"


def _next_look(message: Message, delay_seconds: float) -> datetime | database_now:
    """When the message is due again: after the delay, or at its expiry if that comes first, so that it ends in time."""
    if message.expires_at and message.expires_at < clock.now() + timedelta(seconds=delay_seconds):
        return message.expires_at
    return database_now(timedelta(seconds=delay_seconds))
