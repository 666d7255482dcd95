"""What holds before a message may wait for a worker: its times, the wish to override a suppression, its first status.

Used when a message is accepted and when it starts over; flushes nothing and knows neither template nor content.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.orm import wake_after_commit
from email_service.kernel.rows import NewRow, insert_together
from email_service.messages import state
from email_service.messages.models import Message
from email_service.messages.state import Status

SCHEDULE_AHEAD = timedelta(days=366)


class Admitted(Protocol):
    """What is asked of a message that may wait; one that was just accepted is no ORM object."""

    @property
    def id(self) -> UUID: ...
    @property
    def client_id(self) -> UUID: ...
    @property
    def recipient_email(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What decides about a message's first status beside itself."""

    suppressed_for: str | None  # why its address must not be mailed; None: it may be
    is_mail_off: bool
    actor: Actor | None = None  # who asks; None: the message's client, of whose request nothing more is known


def check_times(send_at: datetime | None, expires_at: datetime | None) -> None:
    """InvalidInputError unless the message can be sent between these times."""
    now = clock.now()
    if send_at and send_at > now + SCHEDULE_AHEAD:
        raise InvalidInputError.at("/send_at", f"A message can be scheduled at most {SCHEDULE_AHEAD.days} days ahead.")
    if expires_at and expires_at <= max(now, send_at or now):
        raise InvalidInputError.at("/expires_at", "This has to be in the future, and after send_at.")


def check_force(lane: str, override_lanes: Collection[str], *, is_forced: bool) -> None:
    """InvalidInputError when `force` is asked for in a lane where the operator does not allow it."""
    if is_forced and lane not in override_lanes:
        allowed = ", ".join(override_lanes) or "none"
        raise InvalidInputError.at(
            "/force",
            f"A message of the lane {lane} cannot override a suppression; leave force out, or ask the operator for "
            f"SUPPRESSION_OVERRIDE_LANES (now: {allowed}).",
        )


def find_hindrance(terms: Admission, *, is_forced: bool) -> tuple[Status, str] | None:
    """The final status that a message must have at once, and the reason; None when it may wait for a worker."""
    if terms.suppressed_for and not is_forced:
        return Status.SUPPRESSED, terms.suppressed_for
    if terms.is_mail_off:
        # Held back, a staging system's mail would go out to real people on the day that sending is switched on.
        return Status.CANCELLED, "mail_disabled"
    return None


def settle(session: Session, message: Message, terms: Admission) -> None:
    """Let a renewed message wait, or bring it to the status that says why it must not."""
    if hindrance := find_hindrance(terms, is_forced=message.is_forced):
        state.apply(message, hindrance[0], reason=hindrance[1])
        return
    if override := override_of(message, terms):
        insert_together(session.connection(), [override])
    wake_after_commit(session, message.lane)


def override_of(message: Admitted, terms: Admission) -> NewRow | None:
    """The audit's row that a message which may wait overrides a suppression, if it does."""
    if not terms.suppressed_for:
        return None
    actor = terms.actor or Actor(name=f"client:{message.client_id}", client_id=message.client_id)
    return audit.row(
        actor,
        "suppression.overridden",
        message.recipient_email,
        message_id=str(message.id),
        reason=terms.suppressed_for,
    )
