"""Pages of audit events, newest first, by keyset: a page costs the same however deep it lies. Changes nothing."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from email_service.audit.models import AuditEvent
from email_service.kernel.orm import first_id_at
from email_service.kernel.pages import Page, no_cursor, read_cursor, write_cursor

# How far apart the time of an event's id and the time that is written beside it may be, either way.
_ID_APART_MILLISECONDS = 60_000
_EXACT = ("name", "actor", "subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which events, and which page of them; None matches everything."""

    limit: int
    cursor: str | None = None
    name: str | None = None
    actor: str | None = None
    subject: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def find_events(session: Session, wanted: AuditFilter) -> Page:
    """What was done, the latest first. Each filter has an index of its own in the order of the list."""
    statement: Select[AuditEvent] = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(wanted.limit + 1)
    for column in _EXACT:
        if (value := getattr(wanted, column)) is not None:
            statement = statement.where(getattr(AuditEvent, column) == value)
    if wanted.cursor is not None:
        statement = statement.where(AuditEvent.id < _read_place(wanted.cursor))
    rows = session.scalars(_between(statement, wanted)).all()
    has_more = len(rows) > wanted.limit
    return Page(rows[: wanted.limit], write_cursor(rows[wanted.limit - 1].id.bytes) if has_more else None)


def _between(statement: Select[AuditEvent], wanted: AuditFilter) -> Select[AuditEvent]:
    # Ids begin with their millisecond, so a bound on time is also a bound on the index that the list walks.
    if wanted.created_after is not None:
        earliest = first_id_at(wanted.created_after, after_milliseconds=-_ID_APART_MILLISECONDS)
        statement = statement.where(AuditEvent.id >= earliest, AuditEvent.occurred_at > wanted.created_after)
    if wanted.created_before is not None:
        latest = first_id_at(wanted.created_before, after_milliseconds=_ID_APART_MILLISECONDS)
        statement = statement.where(AuditEvent.id < latest, AuditEvent.occurred_at < wanted.created_before)
    return statement


def _read_place(cursor: str) -> UUID:
    try:
        return UUID(bytes=read_cursor(cursor))
    except ValueError:
        raise no_cursor() from None
