"""One small batch of each kind of old row: how it is found, locked and deleted. Flushes, never commits.

Rows that somebody else has locked are passed over, so that two purges at once share the work and nobody waits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from email_service.audit.models import AuditEvent
from email_service.delivery.models import SendRate
from email_service.idempotency import service as idempotency
from email_service.inbox.models import CapturedMail
from email_service.kernel.orm import first_id_at
from email_service.messages.models import DeliveryAttempt, Event, Message, MessageContent, MessageTag
from email_service.messages.state import Status
from email_service.retention.policy import Cutoffs
from email_service.sessions.models import UserSession
from email_service.tokens.models import Token, TokenRequest

START = UUID(int=0)
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch did, and where the next one goes on; None: nothing further is old."""

    removed: int
    cursor: UUID | None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rows that grow old."""

    name: str  # as a person reads it
    purge: Callable[[Session, Cutoffs, UUID, int], Batch]
    count: Callable[[Session, Cutoffs], int]


def wipe_contents(session: Session, cutoffs: Cutoffs, cursor: UUID, limit: int) -> Batch:
    """Forget what messages carried: of those that finished, and sensitive content of those held as `uncertain`.

    A content goes when it is wiped, so this table is its own list of what is left to look at. The message is locked,
    because a retry that was asked for at this moment needs its content.
    """
    found = _walk(session, MessageContent.message_id, cutoffs.contents, cursor, limit)
    over = _lock(session, Message.id, Message.id.in_(found), _has_needless_content(cutoffs.contents)) if found else []
    _delete(session, MessageContent.message_id, over)
    return _batch(found, over, limit)


def delete_messages(session: Session, cutoffs: Cutoffs, cursor: UUID, limit: int) -> Batch:
    """Delete messages that finished long ago, with all that hangs on them.

    Ids begin with their time, so the walk along the primary key ends at the cutoff; whatever it passes and leaves is
    not looked at again in the same round. The children go first, a statement for each table: the foreign keys would
    delete them one message at a time.
    """
    found = _walk(session, Message.id, cutoffs.messages, cursor, limit)
    over = _lock(session, Message.id, Message.id.in_(found), Message.finished_at < cutoffs.messages) if found else []
    for child in (Event, DeliveryAttempt, MessageContent, MessageTag):
        _delete(session, child.message_id, over)
    _delete(session, Message.id, over)
    return _batch(found, over, limit)


def delete_captured_mails(session: Session, cutoffs: Cutoffs, _cursor: UUID, limit: int) -> Batch:
    """Delete old mail of the inbox; that it holds the newest few only is seen to when mail is captured."""
    return _delete_oldest(session, CapturedMail.id, CapturedMail.created_at, cutoffs.messages, limit)


def delete_audit_events(session: Session, cutoffs: Cutoffs, cursor: UUID, limit: int) -> Batch:
    """Delete old audit events. They are written far more often than they are deleted, so no index knows their time."""
    found = _walk(session, AuditEvent.id, cutoffs.audit_events, cursor, limit)
    over = _lock(session, AuditEvent.id, AuditEvent.id.in_(found)) if found else []
    _delete(session, AuditEvent.id, over)
    return _batch(found, over, limit)


def delete_tokens(session: Session, cutoffs: Cutoffs, cursor: UUID, limit: int) -> Batch:
    """Delete tokens that were redeemed, revoked or expired a while ago; one that is still live is stepped over."""
    found = _walk(session, Token.id, cutoffs.tokens, cursor, limit)
    over = _lock(session, Token.id, Token.id.in_(found), _is_over(cutoffs.tokens)) if found else []
    _delete(session, Token.id, over)
    return _batch(found, over, limit)


def delete_sessions(session: Session, cutoffs: Cutoffs, cursor: UUID, limit: int) -> Batch:
    """Delete sessions that ended a while ago, with their refresh tokens; one that is still live is stepped over."""
    found = _walk(session, UserSession.id, cutoffs.tokens, cursor, limit)
    over = _lock(session, UserSession.id, UserSession.id.in_(found), _has_ended(cutoffs.tokens)) if found else []
    _delete(session, UserSession.id, over)
    return _batch(found, over, limit)


def delete_token_requests(session: Session, cutoffs: Cutoffs, _cursor: UUID, limit: int) -> Batch:
    """Delete public requests that no worker answered in time; whoever asked has asked again since."""
    return _delete_oldest(session, TokenRequest.id, TokenRequest.requested_at, cutoffs.token_requests, limit)


def delete_send_rates(session: Session, cutoffs: Cutoffs, _cursor: UUID, limit: int) -> Batch:
    """Delete the rates of routes and domains that nothing was sent to for a while; there are never very many."""
    return _delete_oldest(session, SendRate.key, SendRate.next_at, cutoffs.send_rates, limit)


def delete_idempotency_records(session: Session, _cutoffs: Cutoffs, _cursor: UUID, limit: int) -> Batch:
    """Delete the records of keys that are fresh again."""
    removed = idempotency.forget_old(session, limit)
    return Batch(removed, START if removed == limit else None)


def _walk(
    session: Session, key: InstrumentedAttribute[UUID], cutoff: datetime, cursor: UUID, limit: int
) -> Sequence[UUID]:
    statement = select(key).where(key > cursor, key < first_id_at(cutoff)).order_by(key).limit(limit)
    return session.scalars(statement).all()


def _lock(session: Session, key: InstrumentedAttribute[UUID], *conditions: ColumnElement[bool]) -> Sequence[UUID]:
    statement = select(key).where(*conditions).order_by(key).with_for_update(skip_locked=True)
    return session.scalars(statement).all()


def _delete(session: Session, key: InstrumentedAttribute[UUID], ids: Sequence[UUID]) -> None:
    if ids:
        session.execute(delete(key.class_).where(key.in_(ids)), execution_options=_UNSYNCHRONISED)


def _batch(found: Sequence[UUID], over: Sequence[UUID], limit: int) -> Batch:
    return Batch(len(over), found[-1] if len(found) == limit else None)


def _delete_oldest(
    session: Session,
    key: InstrumentedAttribute[Any],
    when: InstrumentedAttribute[datetime],
    cutoff: datetime,
    limit: int,
) -> Batch:
    oldest = select(key).where(when < cutoff).order_by(when).limit(limit).with_for_update(skip_locked=True)
    statement = delete(key.class_).where(key.in_(oldest)).returning(key)
    removed = len(session.execute(statement, execution_options=_UNSYNCHRONISED).all())
    return Batch(removed, START if removed == limit else None)


def _has_needless_content(cutoff: datetime) -> ColumnElement[bool]:
    # Whoever holds an uncertain message back may still ask for a retry; a secret is not kept for that beyond its time.
    is_held_secret = and_(
        Message.status == Status.UNCERTAIN,
        Message.due_at.is_(None),
        Message.is_sensitive,
        Message.round_began_at < cutoff,
    )
    return or_(Message.finished_at < cutoff, is_held_secret)


def _is_over(cutoff: datetime) -> ColumnElement[bool]:
    return or_(Token.consumed_at < cutoff, Token.revoked_at < cutoff, Token.expires_at < cutoff)


def _has_ended(cutoff: datetime) -> ColumnElement[bool]:
    ends = (UserSession.revoked_at, UserSession.idle_expires_at, UserSession.expires_at)
    return or_(*(end < cutoff for end in ends))


def _count_contents(session: Session, cutoffs: Cutoffs) -> int:
    statement = select(func.count()).select_from(MessageContent).join(Message)
    bound = MessageContent.message_id < first_id_at(cutoffs.contents)
    return session.scalar(statement.where(bound, _has_needless_content(cutoffs.contents))) or 0


def _count_messages(session: Session, cutoffs: Cutoffs) -> int:
    old = (Message.id < first_id_at(cutoffs.messages), Message.finished_at < cutoffs.messages)
    return session.scalar(select(func.count()).select_from(Message).where(*old)) or 0


def _count(condition: Callable[[Cutoffs], ColumnElement[bool]]) -> Callable[[Session, Cutoffs], int]:
    return lambda session, cutoffs: session.scalar(select(func.count()).where(condition(cutoffs))) or 0


KINDS = (
    Kind("contents", wipe_contents, _count_contents),
    Kind("messages", delete_messages, _count_messages),
    Kind("captured mails", delete_captured_mails, _count(lambda old: CapturedMail.created_at < old.messages)),
    Kind("audit events", delete_audit_events, _count(lambda old: AuditEvent.id < first_id_at(old.audit_events))),
    Kind("idempotency records", delete_idempotency_records, lambda session, _: idempotency.count_old(session)),
    Kind("tokens", delete_tokens, _count(lambda old: _is_over(old.tokens))),
    Kind("sessions", delete_sessions, _count(lambda old: _has_ended(old.tokens))),
    Kind("token requests", delete_token_requests, _count(lambda old: TokenRequest.requested_at < old.token_requests)),
    Kind("send rates", delete_send_rates, _count(lambda old: SendRate.next_at < old.send_rates)),
)
