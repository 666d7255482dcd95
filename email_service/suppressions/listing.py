"""Pages of suppressions, newest first, by keyset: a page costs the same however deep it lies. Changes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Select, literal, select, tuple_
from sqlalchemy.orm import Session

from email_service.kernel.addresses import address_key
from email_service.kernel.pages import Page, no_cursor, read_cursor, write_cursor
from email_service.suppressions.models import Suppression

_SEPARATOR = "\n"  # stands in no address


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionFilter:
    """Which suppressions, and which page of them; None matches everything."""

    limit: int
    cursor: str | None = None
    reason: str | None = None
    category: str | None = None
    email: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def find_suppressions(session: Session, wanted: SuppressionFilter) -> Page:
    """The addresses that must not be mailed, the latest first."""
    order = (Suppression.created_at.desc(), Suppression.key.desc(), Suppression.category.desc())
    statement: Select[Suppression] = select(Suppression).order_by(*order).limit(wanted.limit + 1)
    if wanted.reason is not None:
        statement = statement.where(Suppression.reason == wanted.reason)
    if wanted.category is not None:
        statement = statement.where(Suppression.category == wanted.category)
    if wanted.email is not None:
        statement = statement.where(Suppression.key == address_key(wanted.email))
    if wanted.created_after is not None:
        statement = statement.where(Suppression.created_at > wanted.created_after)
    if wanted.created_before is not None:
        statement = statement.where(Suppression.created_at < wanted.created_before)
    if wanted.cursor is not None:
        columns = (Suppression.created_at, Suppression.key, Suppression.category)
        values = zip(columns, _read_place(wanted.cursor), strict=True)
        place = tuple_(*(literal(value, column.type) for column, value in values))
        statement = statement.where(tuple_(*columns) < place)
    rows = session.scalars(statement).all()
    has_more = len(rows) > wanted.limit
    return Page(rows[: wanted.limit], _write_place(rows[wanted.limit - 1]) if has_more else None)


def _write_place(row: Suppression) -> str:
    return write_cursor(_SEPARATOR.join((row.created_at.isoformat(), row.key, row.category)).encode())


def _read_place(cursor: str) -> tuple[datetime, str, str]:
    try:
        time, key, category, *_ = *read_cursor(cursor).decode().split(_SEPARATOR), "", ""
        created_at = datetime.fromisoformat(time).astimezone(UTC)
    except (ValueError, OverflowError):
        raise no_cursor() from None
    # PostgreSQL refuses texts with NUL.
    if "\0" in key + category:
        raise no_cursor()
    return created_at, key, category
