"""Write an audit event down, in the transaction of what it tells of. Decides nothing and never commits."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from email_service.audit.models import AuditEvent
from email_service.kernel import clock
from email_service.kernel.orm import new_id, table_of
from email_service.kernel.rows import NewRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something, and from where."""

    name: str  # client:NAME, operator, or worker
    client_id: UUID | None = None
    ip: str | None = None
    request_id: str | None = None


OPERATOR = Actor(name="operator")
WORKER = Actor(name="worker")


def record(session: Session, actor: Actor, name: str, subject: str, **data: Any) -> AuditEvent:
    """Add the fact that `actor` did `name` (past tense) to `subject`; `data` must not hold a secret."""
    event = AuditEvent(**_fact(actor, name, subject, data))
    session.add(event)
    return event


def row(actor: Actor, name: str, subject: str, **data: Any) -> NewRow:
    """The same as a row, to be inserted together with what it tells of."""
    return table_of(AuditEvent), {"id": new_id(), **_fact(actor, name, subject, data)}


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
