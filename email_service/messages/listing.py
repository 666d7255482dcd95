"""Pages of messages and of their events, by keyset: a page costs the same however deep it lies. Changes nothing."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from email_service.kernel.addresses import parse
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.orm import first_id_at
from email_service.messages.models import Event, Message

# How much earlier than its `created_at` a message's id may have been made.
_ID_AHEAD_MILLISECONDS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages, and which page of them; None matches everything."""

    limit: int
    cursor: str | None = None
    status: str | None = None
    template: str | None = None
    recipient: str | None = None
    tag: str | None = None
    client_reference: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the cursor that leads to the next ones if there are any."""

    data: Sequence[Any]
    next_cursor: str | None


def find_messages(session: Session, client_id: UUID, wanted: MessageFilter) -> Page:
    """The client's messages, newest first."""
    statement: Select[Any] = select(Message).where(Message.client_id == client_id).order_by(Message.id.desc())
    for column in ("status", "template", "client_reference"):
        if (value := getattr(wanted, column)) is not None:
            statement = statement.where(getattr(Message, column) == value)
    if wanted.recipient is not None:
        statement = statement.where(Message.recipient_email == _parsed_recipient(wanted.recipient))
    if wanted.tag is not None:
        statement = statement.where(_has_tag(session, wanted.tag))
    statement = _between(statement, wanted)
    if wanted.cursor is not None:
        statement = statement.where(Message.id < _read_cursor(wanted.cursor))
    return _page(session, statement, wanted.limit)


def find_events(session: Session, message: Message, limit: int, cursor: str | None) -> Page:
    """The message's events, oldest first."""
    statement = select(Event).where(Event.message_id == message.id).order_by(Event.id)
    if cursor is not None:
        statement = statement.where(Event.id > _read_cursor(cursor))
    return _page(session, statement, limit)


def _between(statement: Select[Any], wanted: MessageFilter) -> Select[Any]:
    # Ids begin with their millisecond, so a bound on time is also a bound on the index that the list walks; an id is
    # made a little before the time that is written beside it.
    if wanted.created_after is not None:
        statement = statement.where(
            Message.id >= first_id_at(wanted.created_after, after_milliseconds=-_ID_AHEAD_MILLISECONDS),
            Message.created_at > wanted.created_after,
        )
    if wanted.created_before is not None:
        statement = statement.where(
            Message.id < first_id_at(wanted.created_before, after_milliseconds=1),
            Message.created_at < wanted.created_before,
        )
    return statement


def _page(session: Session, statement: Select[Any], limit: int) -> Page:
    rows = session.scalars(statement.limit(limit + 1)).all()
    has_more = len(rows) > limit
    return Page(rows[:limit], _write_cursor(rows[limit - 1].id) if has_more else None)


def _has_tag(session: Session, tag: str) -> ColumnElement[bool]:
    if session.get_bind().dialect.name == "postgresql":
        return Message.tags.op("@>")(func.jsonb_build_array(tag))
    each = func.json_each(Message.tags).table_valued("value")
    return select(each.c.value).where(each.c.value == tag).exists()


def _parsed_recipient(recipient: str) -> str:
    try:
        return parse(recipient).email
    except InvalidInputError as error:
        raise InvalidInputError.at("/recipient", error.detail) from None


def _write_cursor(row_id: UUID) -> str:
    return base64.urlsafe_b64encode(row_id.bytes).decode().rstrip("=")


def _read_cursor(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError):
        raise InvalidInputError.at("/cursor", "This is no cursor; use next_cursor of the page before.") from None
