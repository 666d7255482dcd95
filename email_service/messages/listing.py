"""Pages of messages and of their events, by keyset: a page costs the same however deep it lies. Changes nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from email_service.kernel.addresses import parse
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.orm import first_id_at
from email_service.kernel.pages import Page, no_cursor, read_cursor, write_cursor
from email_service.messages.models import Event, Message, MessageTag

# How much earlier than its `created_at` a message's id may have been made.
_ID_AHEAD_MILLISECONDS = 60_000
_EXACT = ("status", "template", "client_reference")


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


def find_messages(session: Session, client_id: UUID, wanted: MessageFilter) -> Page:
    """The client's messages, newest first. Each filter has an index of its own in the order of the list."""
    equal = {column: value for column in _EXACT if (value := getattr(wanted, column)) is not None}
    if wanted.recipient is not None:
        equal["recipient_email"] = _parsed_recipient(wanted.recipient)
    statement = select(Message).where(*(getattr(Message, column) == value for column, value in equal.items()))
    keys = []  # what the bounds are told by: databases pass an equality on to the other table, and no inequality
    if wanted.tag is not None:
        keys.append(MessageTag.message_id)
        statement = statement.join(MessageTag, MessageTag.message_id == Message.id)
        statement = statement.where(MessageTag.client_id == client_id, MessageTag.tag == wanted.tag)
    if equal or wanted.tag is None:
        # A tag alone leads to the client's messages already. Asked for twice, the client would count as two filters,
        # and PostgreSQL, expecting few rows, would start workers to find them, which takes longer than finding them.
        keys.append(Message.id)
        statement = statement.where(Message.client_id == client_id)
    for key in keys:
        statement = _between(statement, key, wanted)
    return _page(session, statement.order_by(keys[0].desc()), wanted.limit)


def find_events(session: Session, message: Message, limit: int, cursor: str | None) -> Page:
    """The message's events, oldest first."""
    statement = select(Event).where(Event.message_id == message.id).order_by(Event.id)
    if cursor is not None:
        statement = statement.where(Event.id > _read_cursor(cursor))
    return _page(session, statement, limit)


def _between(statement: Select[Any], key: InstrumentedAttribute[UUID], wanted: MessageFilter) -> Select[Any]:
    if wanted.cursor is not None:
        statement = statement.where(key < _read_cursor(wanted.cursor))
    # Ids begin with their millisecond, so a bound on time is also a bound on the index that the list walks; an id is
    # made a little before the time that is written beside it.
    if wanted.created_after is not None:
        earliest = first_id_at(wanted.created_after, after_milliseconds=-_ID_AHEAD_MILLISECONDS)
        statement = statement.where(key >= earliest, Message.created_at > wanted.created_after)
    if wanted.created_before is not None:
        latest = first_id_at(wanted.created_before, after_milliseconds=1)
        statement = statement.where(key < latest, Message.created_at < wanted.created_before)
    return statement


def _page(session: Session, statement: Select[Any], limit: int) -> Page:
    rows = session.scalars(statement.limit(limit + 1)).all()
    has_more = len(rows) > limit
    return Page(rows[:limit], write_cursor(rows[limit - 1].id.bytes) if has_more else None)


def _parsed_recipient(recipient: str) -> str:
    try:
        return parse(recipient).email
    except InvalidInputError as error:
        raise InvalidInputError.at("/recipient", error.detail) from None


def _read_cursor(cursor: str) -> UUID:
    try:
        return UUID(bytes=read_cursor(cursor))
    except ValueError:
        raise no_cursor() from None
