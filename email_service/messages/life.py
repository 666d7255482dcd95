"""Change the course of a message that was accepted: cancel, reschedule, start over, replace by a newer one.

Every change locks the row first, so that it and a worker's claim happen one after the other. Flushes, never commits;
knows nothing of HTTP and SMTP.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from email_service.audit.service import Actor
from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError, StatusConflictError
from email_service.kernel.orm import database_now, wake_after_commit
from email_service.messages import admission, service, state
from email_service.messages.admission import Admission
from email_service.messages.models import Event, Message, MessageContent
from email_service.messages.state import Status
from email_service.rendering.catalog import Catalog
from email_service.suppressions import service as suppressions
from email_service.suppressions.service import Suppressions

SUPERSEDED = "message.superseded"
_REPLACED = "A newer message took the place of this one; it is not sent any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who asks for another try, what the templates say of their categories, and whether anything is sent at all."""

    catalog: Catalog
    actor: Actor | None = None
    is_mail_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What decides beside its row whether a message can start over."""

    suppressions: Suppressions
    with_content: frozenset[UUID]
    superseded: frozenset[UUID]


def cancel(session: Session, client_id: UUID, message_id: UUID) -> Message:
    """Stop a message that has not begun to be sent; StatusConflictError when it is too late."""
    message = service.get(session, client_id, message_id, for_update=True)
    _check_waiting(message, "cancelled")
    state.apply(message, Status.CANCELLED, reason="requested")
    return message


def reschedule(session: Session, client_id: UUID, message_id: UUID, wanted: Mapping[str, datetime | None]) -> Message:
    """Give a waiting message other times; `wanted` holds `send_at`, `expires_at` or both, and None clears one.

    Another `send_at` begins another round of tries; one that is cleared or past means now. StatusConflictError when
    the message is being sent or is over.
    """
    message = service.get(session, client_id, message_id, for_update=True)
    _check_waiting(message, "rescheduled")
    if find_superseded(session, [message_id]):
        raise StatusConflictError(_REPLACED)
    before = {"send_at": message.send_at, "expires_at": message.expires_at}
    after = {**before, **wanted}
    _check_times(after, wanted)
    _check_token(message, before["expires_at"], after["expires_at"])
    message.send_at, message.expires_at = after["send_at"], after["expires_at"]
    state.record(message, "message.rescheduled", before=_written(before), after=_written(after))
    if "send_at" in wanted:
        _begin_round(session, message)
    elif message.expires_at and message.due_at and message.due_at > message.expires_at:
        message.due_at = message.expires_at  # it ends when it expires, not at its next try
    session.flush()
    return message


def retry(session: Session, client_id: UUID, message_id: UUID, terms: Terms) -> Message:
    """Start over with a message that came to nothing: due now, with its schedule of retries from the beginning."""
    message = service.get(session, client_id, message_id, for_update=True)
    start_over(session, message, look_around(session, [message]), terms)
    session.flush()
    return message


def look_around(session: Session, messages: Sequence[Message]) -> Surroundings:
    """What stands beside these messages; three queries, however many they are."""
    ids = [message.id for message in messages]
    with_content = session.scalars(select(MessageContent.message_id).where(MessageContent.message_id.in_(ids)))
    return Surroundings(
        suppressions=suppressions.look_up(session, {message.recipient_email for message in messages}),
        with_content=frozenset(with_content),
        superseded=find_superseded(session, ids),
    )


def start_over(session: Session, message: Message, found: Surroundings, terms: Terms) -> None:
    """Make the locked message due now; StatusConflictError says why it cannot be."""
    if Status(message.status) not in state.RETRYABLE:
        allowed = ", ".join(sorted(state.RETRYABLE))
        raise StatusConflictError(f"The message is {message.status}; only one that is {allowed} can be retried.")
    if message.id in found.superseded:
        raise StatusConflictError(_REPLACED)
    if message.id not in found.with_content:
        raise StatusConflictError("The message's content is not kept any more; send a new message.")
    is_expired = message.expires_at is not None and message.expires_at <= clock.now()
    if is_expired and message.is_sensitive:
        raise StatusConflictError("What the message carries has expired; send a new message.")
    state.apply(message, Status.QUEUED, reason="retry_requested")
    message.attempt_count = message.uncertain_count = message.lost_lease_count = 0
    message.round_began_at = clock.now()
    message.expires_at = None if is_expired else message.expires_at
    message.due_at = database_now()
    message.held_by = None
    category = terms.catalog.optional_category(message.template)
    reason = found.suppressions.find_reason(message.recipient_email, category)
    admission.settle(
        session, message, Admission(suppressed_for=reason, is_mail_off=terms.is_mail_off, actor=terms.actor)
    )


def supersede(session: Session, message_id: UUID) -> None:
    """Let no further attempt be made at a message whose place a newer one has taken; one that is over stays as it is.

    While it is being sent, and after a try that may have arrived, `expired` would say too much: its expiry is moved to
    now instead, and the worker that looks at it next lets it end.
    """
    message = session.scalar(
        select(Message).where(Message.id == message_id).with_for_update().execution_options(populate_existing=True)
    )
    if message is None or (status := Status(message.status)) in state.FINAL:
        return
    state.record(message, SUPERSEDED)
    state.count(message, "superseded")
    message.expires_at = database_now()
    may_have_left = message.uncertain_count + message.lost_lease_count > 0
    if status in state.WAITING and not may_have_left:
        state.apply(message, Status.EXPIRED, reason="superseded")
    elif status is not Status.SENDING and message.due_at is not None:
        message.due_at = database_now()
        wake_after_commit(session, message.lane)
    session.flush()


def find_superseded(session: Session, message_ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the messages that a newer one took the place of."""
    wanted = select(Event.message_id).where(Event.message_id.in_(message_ids), Event.name == SUPERSEDED)
    return frozenset(session.scalars(wanted)) if message_ids else frozenset()


def _check_waiting(message: Message, done: str) -> None:
    if Status(message.status) not in state.WAITING:
        raise StatusConflictError(f"The message is {message.status}; only a message that waits can be {done}.")


def _check_times(after: Mapping[str, datetime | None], wanted: Mapping[str, datetime | None]) -> None:
    try:
        admission.check_times(after["send_at"], after["expires_at"])
    except InvalidInputError as error:
        if {f"/{name}" for name in wanted} >= {fault.pointer for fault in error.faults}:
            raise
        # The caller gave only the other of the two times, so that is the one to point at.
        expires_at = _written(after)["expires_at"]
        raise InvalidInputError.at(
            "/send_at", f"The message expires at {expires_at}; give an earlier time, or another expires_at as well."
        ) from None


def _check_token(message: Message, before: datetime | None, after: datetime | None) -> None:
    if message.content is None or message.content.token_nonce is None or before is None:
        return
    if after is None or after > before:
        raise InvalidInputError.at(
            "/expires_at", f"The message carries a token, which dies at {clock.written(before)}; give an earlier time."
        )


def _begin_round(session: Session, message: Message) -> None:
    now = clock.now()
    due_at = message.due_at
    send_at = message.send_at or now
    is_later = send_at > now
    status = Status.SCHEDULED if is_later else Status.QUEUED
    if message.status != status:
        state.apply(message, status, reason="rescheduled")
    message.attempt_count = 0
    message.held_by = None
    if is_later:
        message.due_at = message.round_began_at = send_at
        return
    message.round_began_at = now
    # One that is due already keeps its place in the line.
    message.due_at = due_at if due_at and due_at <= now else database_now()
    wake_after_commit(session, message.lane)


def _written(times: Mapping[str, datetime | None]) -> dict[str, str | None]:
    return {name: clock.written(time) if time else None for name, time in times.items()}
