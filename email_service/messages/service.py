"""Accept a message and find it again; what changes its course later is in `life`.

Flushes, never commits; knows nothing of HTTP and SMTP.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from email_service.audit.service import Actor
from email_service.kernel import clock, tallies
from email_service.kernel.addresses import address_key
from email_service.kernel.crypto import Sealer
from email_service.kernel.errors import InvalidInputError, NotFoundError
from email_service.kernel.orm import database_now, new_id, table_of, wake_after_commit
from email_service.kernel.rows import NewRow, insert_together
from email_service.kernel.tallies import MessageEvent
from email_service.messages import admission, state
from email_service.messages.admission import Admission
from email_service.messages.models import Event, Message, MessageContent, MessageTag
from email_service.messages.state import Status
from email_service.messages.submission import Mailbox, Submission
from email_service.rendering.catalog import Catalog, Template
from email_service.suppressions.models import Suppression
from email_service.suppressions.service import Suppressions

_MESSAGES, _CONTENTS, _EVENTS, _TAGS = (table_of(table) for table in (Message, MessageContent, Event, MessageTag))


@dataclass(frozen=True, slots=True)
class Intake:
    """What accepting needs besides the database."""

    catalog: Catalog
    sealer: Sealer
    default_sender: Mailbox
    is_mail_off: bool = False  # MAIL_ENABLED=false: accept and record, send nothing
    override_lanes: tuple[str, ...] = ("token",)  # where a caller may send in spite of a suppression


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that may be accepted: its row and its sealed content, written by nobody yet."""

    row: dict[str, Any]  # of `messages`
    content: dict[str, Any]

    @property
    def email(self) -> str:
        """Where it goes."""
        return str(self.row["recipient_email"])


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that was just accepted, as its row says. No ORM object: that would cost more than all its checks."""

    row: Mapping[str, Any]

    @property
    def id(self) -> UUID:
        return cast("UUID", self.row["id"])

    @property
    def client_id(self) -> UUID:
        return cast("UUID", self.row["client_id"])

    @property
    def status(self) -> Status:
        return Status(self.row["status"])

    @property
    def lane(self) -> str:
        return str(self.row["lane"])

    @property
    def recipient_email(self) -> str:
        return str(self.row["recipient_email"])

    @property
    def tallies(self) -> list[MessageEvent]:
        """What is counted of it once it is committed."""
        events = ["accepted", *([self.status] if self.status in state.FINAL else [])]
        return [MessageEvent(event, self.lane, self.row["template"]) for event in events]


def accept(
    session: Session, intake: Intake, client_id: UUID, submission: Submission, actor: Actor | None = None
) -> Accepted:
    """Take responsibility for one message; once the caller commits, it reaches a final status whatever happens.

    InvalidInputError names every value that cannot be used. An address that must not be mailed is no error: the message
    is `suppressed`, and says so.
    """
    return accept_all(session, intake, [prepare(intake, client_id, submission)], actor)[0]


def accept_all(session: Session, intake: Intake, drafts: Sequence[Draft], actor: Actor | None = None) -> list[Accepted]:
    """The same for many that were prepared: one question to the database, and each table written once."""
    now, suppressed = _look(session, [draft.email for draft in drafts])
    accepted, rows = [], []
    for draft in drafts:
        reason = suppressed.find_reason(draft.email, intake.catalog.optional_category(draft.row["template"]))
        terms = Admission(suppressed_for=reason, is_mail_off=intake.is_mail_off, actor=actor)
        each, written = settle(draft, terms, now)
        accepted.append(each)
        tallies.note(session, *each.tallies)
        rows += written
        if each.status in state.WAITING:
            wake_after_commit(session, each.lane)
    insert_together(session.connection(), rows)
    return accepted


def prepare(intake: Intake, client_id: UUID, submission: Submission) -> Draft:
    """The message that would be accepted, checked and sealed; asks no database. InvalidInputError as in `accept`."""
    template = intake.catalog.get(submission.template)
    template.check_variables(submission.variables)
    _check_lane(submission, template)
    if submission.token_nonce is None:  # the times of a token come from the database's clock
        admission.check_times(submission.send_at, submission.expires_at)
    lane = submission.lane or template.lane
    admission.check_force(lane, intake.override_lanes, is_forced=submission.is_forced)
    message = _build(intake, template, client_id, submission)
    return Draft(message, _seal_content(intake.sealer, message["id"], submission))


def settle(draft: Draft, terms: Admission, now: datetime) -> tuple[Accepted, list[NewRow]]:
    """Give the message its first status; all of its rows, for whoever inserts them.

    `now` is the database's clock, by which everything is due.
    """
    message = draft.row
    if message["due_at"] is None:
        message["due_at"] = now
    if terms.actor is not None:
        message.update(request_id=terms.actor.request_id, trace_parent=terms.actor.trace_parent)
    hindrance = admission.find_hindrance(terms, is_forced=message["is_forced"])
    events = state.begin(message, hindrance)
    accepted = Accepted(message)
    rows: list[NewRow] = [(_MESSAGES, message)]
    if hindrance is None or not message["is_sensitive"]:
        rows.append((_CONTENTS, draft.content))
    rows += ((_EVENTS, event) for event in events)
    same = {"message_id": message["id"], "client_id": message["client_id"]}
    rows += ((_TAGS, {**same, "tag": tag}) for tag in dict.fromkeys(message["tags"]))
    if hindrance is None and (override := admission.override_of(accepted, terms)):
        rows.append(override)
    return accepted, rows


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


def _look(session: Session, emails: Sequence[str]) -> tuple[datetime, Suppressions]:
    """The database's clock, and the suppressions of the addresses."""
    keys = {address_key(email) for email in emails}
    always = select(database_now().label("now")).subquery()
    rows = session.execute(
        select(always.c.now, Suppression).outerjoin_from(always, Suppression, Suppression.key.in_(keys))
    ).all()
    return rows[0].now, Suppressions.of(row.Suppression for row in rows if row.Suppression is not None)


def _build(intake: Intake, template: Template, client_id: UUID, submission: Submission) -> dict[str, Any]:
    message_id, now = new_id(), clock.now()
    sender = submission.sender or intake.default_sender
    later = submission.send_at if submission.send_at is not None and submission.send_at > now else None
    return {
        "id": message_id,
        "client_id": client_id,
        "template": template.name,
        "template_version": template.version,
        "lane": submission.lane or template.lane,
        "status": Status.SCHEDULED if later else Status.QUEUED,
        "recipient_email": submission.to["email"],
        "recipient_name": submission.to["name"],
        "cc": submission.cc,
        "bcc": submission.bcc,
        "reply_to": submission.reply_to,
        "sender": submission.sender,
        "locale": submission.locale,
        "headers": submission.headers,
        "is_sensitive": template.is_sensitive,
        "is_forced": submission.is_forced,
        "tags": submission.tags,
        "metadata": submission.metadata,
        "client_reference": submission.client_reference,
        "request_id": None,
        "trace_parent": None,
        "message_id_header": f"<{message_id}@{sender['email'].rpartition('@')[2]}>",
        "created_at": now,
        "send_at": submission.send_at,
        "expires_at": submission.expires_at,
        "finished_at": None,
        "round_began_at": later or now,
        "due_at": later,
        "attempt_count": 0,
        "uncertain_count": 0,
        "lost_lease_count": 0,
    }


def _seal_content(sealer: Sealer, message_id: UUID, submission: Submission) -> dict[str, Any]:
    variables = json.dumps(submission.variables, separators=(",", ":")).encode()
    attachments = json.dumps(submission.attachments).encode() if submission.attachments else None
    return {
        "message_id": message_id,
        "variables": sealer.seal(variables, f"messages.variables:{message_id}"),
        "token_nonce": submission.token_nonce,
        "attachments": attachments and sealer.seal(attachments, f"messages.attachments:{message_id}"),
    }


def _check_lane(submission: Submission, template: Template) -> None:
    if submission.lane == "token" and template.lane != "token":
        raise InvalidInputError.at(
            "/lane", f"The lane token is kept free for token mail; the template {template.name} is {template.lane}."
        )
