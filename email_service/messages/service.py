"""Accept a message, find it, and change its course while it waits.

Flushes, never commits; knows nothing of HTTP and SMTP.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from email_service.kernel import clock
from email_service.kernel.crypto import Sealer
from email_service.kernel.errors import InvalidInputError, NotFoundError, StatusConflictError
from email_service.kernel.orm import database_now, new_id, wake_after_commit
from email_service.messages import state
from email_service.messages.models import Message, MessageContent
from email_service.messages.state import Status
from email_service.messages.submission import Attachment, Mailbox, Submission
from email_service.rendering.catalog import Catalog, Template
from email_service.suppressions import service as suppressions

LANES = ("token", "transactional", "bulk")  # in the order in which they are served
SCHEDULE_AHEAD = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Intake:
    """What accepting needs besides the database."""

    catalog: Catalog
    sealer: Sealer
    default_sender: Mailbox
    is_mail_off: bool = False  # MAIL_ENABLED=false: accept and record, send nothing


def accept(session: Session, intake: Intake, client_id: UUID, submission: Submission) -> Message:
    """Take responsibility for one message; once the caller commits, it reaches a final status whatever happens.

    InvalidInputError names every value that cannot be used. An address that must not be mailed is no error: the message
    is `suppressed`, and says so.
    """
    template = intake.catalog.get(submission.template)
    template.check_variables(submission.variables)
    _check_lane(submission, template)
    _check_times(submission)
    message = _build(intake, template, client_id, submission)
    message.content = _seal_content(intake.sealer, message.id, submission)
    session.add(message)
    state.record(message, "message.accepted", template_version=template.version)
    session.flush()
    _settle_first_status(session, intake, message)
    return message


def get(session: Session, client_id: UUID, message_id: UUID, *, for_update: bool = False) -> Message:
    """The client's message; NotFoundError when it does not exist or is another client's."""
    statement = (
        select(Message)
        .options(selectinload(Message.attempts))
        .where(Message.id == message_id, Message.client_id == client_id)
    )
    message = session.scalar(statement.with_for_update() if for_update else statement)
    if message is None:
        raise NotFoundError(f"There is no message {message_id}, or it belongs to another client.")
    return message


def cancel(session: Session, client_id: UUID, message_id: UUID) -> Message:
    """Stop a message that has not begun to be sent; StatusConflictError when it is too late."""
    message = get(session, client_id, message_id, for_update=True)
    if Status(message.status) not in state.WAITING:
        raise StatusConflictError(f"The message is {message.status}; only a message that waits can be cancelled.")
    state.apply(message, Status.CANCELLED, reason="requested")
    return message


def retry(session: Session, intake: Intake, client_id: UUID, message_id: UUID) -> Message:
    """Start over with a message that came to nothing: due now, with its schedule of retries from the beginning."""
    message = get(session, client_id, message_id, for_update=True)
    if Status(message.status) not in state.RETRYABLE:
        allowed = ", ".join(sorted(state.RETRYABLE))
        raise StatusConflictError(f"The message is {message.status}; only one that is {allowed} can be retried.")
    if message.content is None:
        raise StatusConflictError("The message's content was wiped when it became final; send a new message.")
    is_expired = message.expires_at is not None and message.expires_at <= clock.now()
    if is_expired and message.is_sensitive:
        raise StatusConflictError("What the message carries has expired; send a new message.")
    state.apply(message, Status.QUEUED, reason="retry_requested")
    message.attempt_count = message.uncertain_count = message.lost_lease_count = 0
    message.round_began_at = clock.now()
    message.expires_at = None if is_expired else message.expires_at
    message.due_at = database_now()
    session.flush()
    _settle_first_status(session, intake, message)
    return message


def open_variables(sealer: Sealer, message: Message) -> dict[str, object]:
    """What the template is rendered with; SealBrokenError when no present key opens it."""
    assert message.content is not None
    opened: dict[str, object] = json.loads(sealer.open(message.content.variables, f"messages.variables:{message.id}"))
    return opened


def open_attachments(sealer: Sealer, message: Message) -> list[Attachment]:
    """The files that go with the message."""
    if message.content is None or message.content.attachments is None:
        return []
    opened: list[Attachment] = json.loads(
        sealer.open(message.content.attachments, f"messages.attachments:{message.id}")
    )
    return opened


def _build(intake: Intake, template: Template, client_id: UUID, submission: Submission) -> Message:
    message_id = new_id()
    sender = submission.sender or intake.default_sender
    is_later = submission.send_at is not None and submission.send_at > clock.now()
    return Message(
        id=message_id,
        client_id=client_id,
        template=template.name,
        template_version=template.version,
        lane=submission.lane or template.lane,
        status=Status.SCHEDULED if is_later else Status.QUEUED,
        recipient_email=submission.to["email"],
        recipient_name=submission.to["name"],
        cc=list(submission.cc),
        bcc=list(submission.bcc),
        reply_to=submission.reply_to,
        sender=submission.sender,
        locale=submission.locale,
        headers=dict(submission.headers),
        is_sensitive=template.is_sensitive,
        tags=list(submission.tags),
        metadata_=dict(submission.metadata),
        client_reference=submission.client_reference,
        message_id_header=f"<{message_id}@{sender['email'].rpartition('@')[2]}>",
        created_at=clock.now(),
        send_at=submission.send_at,
        expires_at=submission.expires_at,
        round_began_at=submission.send_at if is_later else clock.now(),
        due_at=submission.send_at if is_later else database_now(),
    )


def _seal_content(sealer: Sealer, message_id: UUID, submission: Submission) -> MessageContent:
    variables = json.dumps(submission.variables, separators=(",", ":")).encode()
    attachments = json.dumps(submission.attachments).encode() if submission.attachments else None
    return MessageContent(
        message_id=message_id,
        variables=sealer.seal(variables, f"messages.variables:{message_id}"),
        attachments=attachments and sealer.seal(attachments, f"messages.attachments:{message_id}"),
    )


def _settle_first_status(session: Session, intake: Intake, message: Message) -> None:
    if suppression := suppressions.find(session, message.recipient_email):
        state.apply(message, Status.SUPPRESSED, reason=suppression.reason)
    elif intake.is_mail_off:
        # Held back, a staging system's mail would go out to real people on the day that sending is switched on.
        state.apply(message, Status.CANCELLED, reason="mail_disabled")
    else:
        wake_after_commit(session, message.lane)
    session.flush()


def _check_lane(submission: Submission, template: Template) -> None:
    if submission.lane == "token" and template.lane != "token":
        raise InvalidInputError.at(
            "/lane", f"The lane token is kept free for token mail; the template {template.name} is {template.lane}."
        )


def _check_times(submission: Submission) -> None:
    now = clock.now()
    if submission.send_at and submission.send_at > now + SCHEDULE_AHEAD:
        raise InvalidInputError.at("/send_at", f"A message can be scheduled at most {SCHEDULE_AHEAD.days} days ahead.")
    if submission.expires_at and submission.expires_at <= max(now, submission.send_at or now):
        raise InvalidInputError.at("/expires_at", "This has to be in the future, and after send_at.")
