"""Write an audit event down, in the transaction of what it tells of. Decides nothing and never commits."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Insert, String, bindparam, func, insert, literal, select
from sqlalchemy.orm import Session

from email_service.audit.models import AuditEvent
from email_service.kernel import clock
from email_service.kernel.orm import new_id, table_of
from email_service.kernel.rows import NewRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something, and from where."""

    name: str  # client:NAME, operator, worker, public, or recipient
    client_id: UUID | None = None
    ip: str | None = None
    request_id: str | None = None
    trace_parent: str | None = None  # of the request, where somebody traces


_EVENTS = table_of(AuditEvent)
_GIVEN = ("id", "actor", "client_id", "ip", "request_id", "occurred_at")
OPERATOR = Actor(name="operator")
WORKER = Actor(name="worker")


def record(session: Session, actor: Actor, name: str, subject: str, **data: Any) -> AuditEvent:
    """Add the fact that `actor` did `name` (past tense) to `subject`; `data` must not hold a secret."""
    event = AuditEvent(**_fact(actor, name, subject, data))
    session.add(event)
    return event


def row(actor: Actor, name: str, subject: str, **data: Any) -> NewRow:
    """The same as a row, to be inserted together with what it tells of."""
    return _EVENTS, {"id": new_id(), **_fact(actor, name, subject, data)}


def insertion(changed: FromClause, name: str, **data: ColumnElement[Any]) -> Insert:
    """An insert of the fact that `name` was done to each `subject` of what a statement has just changed.

    For statements that are built once, on PostgreSQL; their values are those of `told_by`, and `data` are columns.
    """
    members = [part for each, column in data.items() for part in (literal(each, String), column)]
    given = [bindparam(f"audit_{column}", type_=_EVENTS.c[column].type) for column in _GIVEN]
    facts = select(literal(name, String), changed.c.subject, func.jsonb_build_object(*members), *given)
    return insert(_EVENTS).from_select(["name", "subject", "data", *_GIVEN], facts)


def told_by(actor: Actor) -> dict[str, Any]:
    """The values of a statement with one `insertion` in it, of one row."""
    row = {"id": new_id(), **_fact(actor, "", "", {})}
    return {f"audit_{column}": row[column] for column in _GIVEN}


def _fact(actor: Actor, name: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "actor": actor.name,
        "client_id": actor.client_id,
        "subject": subject,
        "ip": actor.ip,
        "request_id": actor.request_id,
        "data": data,
        "occurred_at": clock.now(),
    }
