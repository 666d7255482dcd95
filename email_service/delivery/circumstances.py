"""Finds out what explains one message: its row, its last attempt, breakers, the suppression, what goes before it.

A handful of bounded queries, none of which grows with the tables; what follows from them is `explanation`'s business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, select, true
from sqlalchemy.orm import Session

from email_service.clients.models import Client
from email_service.delivery import explanation
from email_service.delivery.explanation import COUNT_BOUND, Ahead, Attempt, Circumstances, Outage, Reason, Suppressed
from email_service.delivery.models import RouteBreaker
from email_service.delivery.routing import RouteTable
from email_service.kernel.errors import NotFoundError
from email_service.kernel.orm import database_now
from email_service.messages import life
from email_service.messages.models import DeliveryAttempt, Event, Message
from email_service.messages.state import Status
from email_service.rendering.catalog import Catalog
from email_service.suppressions import service as suppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How mail leaves this service, and of which templates a reader may want no more."""

    table: RouteTable
    catalog: Catalog
    is_mail_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Why a message has not arrived, with what shows it; `evidence` holds at most three kinds."""

    status: Status
    reason: Reason
    detail: str
    next_attempt_at: datetime | None
    evidence: Mapping[str, Attempt | Suppressed | Outage | None]


def explain(session: Session, ways: Ways, client_id: UUID, message_id: UUID) -> Explained:
    """Why the client's message is where it is; NotFoundError when it does not exist or is another client's."""
    wanted = select(Message, database_now()).where(Message.id == message_id, Message.client_id == client_id)
    row = session.execute(wanted).first()
    if row is None:
        raise NotFoundError(f"There is no message {message_id}, or it belongs to another client.")
    message, now = row
    found = Circumstances(now=now, **_read_row(message), **_look_around(session, ways, message))
    reason = explanation.find_reason(found)
    if reason is Reason.WAITING:
        found = replace(found, ahead=_count_ahead(session, message))
    return Explained(
        status=found.status,
        reason=reason,
        detail=explanation.tell(found, reason),
        next_attempt_at=explanation.find_next_attempt(found, reason),
        evidence={
            "attempt": found.attempt,
            "suppression": found.suppression,
            "breaker": found.outage if reason is Reason.ROUTE_DOWN else None,
        },
    )


def _read_row(message: Message) -> dict[str, Any]:
    return {
        "status": Status(message.status),
        "lane": message.lane,
        "domain": message.recipient_email.rpartition("@")[2],
        "due_at": message.due_at,
        "expires_at": message.expires_at,
        "finished_at": message.finished_at,
        "held_by": message.held_by,
        "is_leased": message.lease_id is not None,
    }


def _look_around(session: Session, ways: Ways, message: Message) -> dict[str, Any]:
    is_suppressed = message.status == Status.SUPPRESSED
    is_waiting = message.due_at is not None and message.lease_id is None
    return {
        "is_mail_off": ways.is_mail_off,
        "is_superseded": bool(life.find_superseded(session, [message.id])),
        "told": _find_told(session, message),
        "attempt": _find_attempt(session, message),
        "outage": _find_outage(session, ways, message) if is_waiting else None,
        "suppression": _find_suppression(session, ways, message) if is_suppressed else None,
    }


def _find_told(session: Session, message: Message) -> str | None:
    wanted = select(Event.data).where(Event.message_id == message.id, Event.name == f"message.{message.status}")
    data = session.scalar(wanted.order_by(Event.id.desc()).limit(1))
    return data.get("reason") if data else None


def _find_attempt(session: Session, message: Message) -> Attempt | None:
    wanted = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    row = session.scalar(wanted.order_by(DeliveryAttempt.id.desc()).limit(1))
    if row is None:
        return None
    return Attempt(
        transport=row.transport,
        phase=row.phase,
        code=row.code,
        enhanced_code=row.enhanced_code,
        reply=row.reply,
        finished_at=row.finished_at,
    )


def _find_outage(session: Session, ways: Ways, message: Message) -> Outage | None:
    """The breaker that is tried first, when each route that the message may take has one; else mail flows."""
    names = {route.name for route in ways.table.find_takers(message)}
    rows = session.scalars(select(RouteBreaker).where(RouteBreaker.route.in_(names))).all() if names else ()
    if not rows or {row.route for row in rows} != names:
        return None
    first = min(rows, key=lambda row: row.open_until)
    return Outage(
        route=first.route,
        reason=first.reason,
        failure_count=first.failure_count,
        tripped_at=first.tripped_at,
        open_until=first.open_until,
    )


def _find_suppression(session: Session, ways: Ways, message: Message) -> Suppressed | None:
    email, category = message.recipient_email, ways.catalog.optional_category(message.template)
    row = suppressions.look_up(session, [email]).find(email, category)
    if row is None:
        return None
    return Suppressed(reason=row.reason, category=row.category, created_at=row.created_at, message_id=row.message_id)


def _count_ahead(session: Session, message: Message) -> Ahead:
    before = (Message.lane == message.lane, Message.due_at.is_not(None), Message.due_at < message.due_at)
    of_client = select(literal(1)).where(Message.client_id == message.client_id, *before)
    # The index of what is due begins with lane and client, so that each client's part of it is asked by itself; on
    # PostgreSQL only a lateral query promises that, however its statistics are.
    if session.get_bind().dialect.name == "postgresql":
        part = select(literal(1).label("one")).where(Message.client_id == Client.id, *before).limit(COUNT_BOUND + 1)
        in_all = select(literal(1)).select_from(Client).join(part.correlate(Client).lateral(), true())
    else:
        in_all = select(literal(1)).select_from(Client).join(Message, Message.client_id == Client.id).where(*before)
    return Ahead(_count(session, of_client), _count(session, in_all))


def _count(session: Session, rows: Select[Any]) -> int:
    bounded = rows.limit(COUNT_BOUND + 1).subquery()
    return session.scalar(select(func.count()).select_from(bounded)) or 0
