"""Put many messages that came to nothing back into the queue, a batch at a time. Flushes, never commits.

Each one starts over by the same rules as a retry that a client asks for, and is audited.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from email_service.audit import service as audit
from email_service.audit.service import OPERATOR
from email_service.kernel.errors import StatusConflictError
from email_service.messages import life, state
from email_service.messages.life import Terms
from email_service.messages.models import Message

BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages; what is None or empty matches everything."""

    message_ids: tuple[UUID, ...] = ()
    statuses: tuple[str, ...] = ()  # empty: all that can be retried, or whatever the ids name
    client_id: UUID | None = None
    template: str | None = None
    since: datetime | None = None  # accepted at this time or later
    until: datetime | None = None  # accepted before this time


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some messages."""

    last_id: UUID | None = None  # what the next batch comes after; None: there was nothing more
    moved: Counter[str] = field(default_factory=Counter)  # how many, by their new status
    kept: Counter[str] = field(default_factory=Counter)  # how many stay as they are, by the reason


def count(session: Session, wanted: Wanted) -> dict[str, int]:
    """How many messages are meant, by their status."""
    statement = select(Message.status, func.count()).where(*_conditions(wanted)).group_by(Message.status)
    return {status: number for status, number in session.execute(statement.order_by(Message.status))}  # noqa: C416 - dict() of rows has no types


def requeue(session: Session, terms: Terms, wanted: Wanted, after: UUID | None = None, limit: int = BATCH) -> Batch:
    """Start over with the next messages after the id `after`, in the order of their ids."""
    statement = select(Message).where(*_conditions(wanted)).order_by(Message.id).limit(limit).with_for_update()
    messages = session.scalars(statement if after is None else statement.where(Message.id > after)).all()
    batch = Batch(messages[-1].id if messages else None)
    found = life.look_around(session, messages)
    for message in messages:
        before = message.status
        try:
            life.start_over(session, message, found, terms)
        except StatusConflictError as error:
            batch.kept[error.detail] += 1
            continue
        batch.moved[message.status] += 1
        data = {"before": before, "after": message.status}
        audit.record(session, terms.actor or OPERATOR, "message.requeued", str(message.id), **data)
    session.flush()
    return batch


def _conditions(wanted: Wanted) -> list[Any]:
    conditions: list[Any] = []
    if wanted.message_ids:
        conditions.append(Message.id.in_(wanted.message_ids))
    if wanted.statuses or not wanted.message_ids:
        conditions.append(Message.status.in_(wanted.statuses or state.RETRYABLE))
    if wanted.client_id is not None:
        conditions.append(Message.client_id == wanted.client_id)
    if wanted.template is not None:
        conditions.append(Message.template == wanted.template)
    if wanted.since is not None:
        conditions.append(Message.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(Message.created_at < wanted.until)
    return conditions
