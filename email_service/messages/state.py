"""The only place where a message's status changes, and the table of moves that are allowed.

Knows nothing of SMTP and of when to try again; it writes the status and the event that goes with it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, update
from sqlalchemy.orm import Session, object_session

from email_service.kernel import clock, tallies
from email_service.kernel.errors import StatusConflictError
from email_service.kernel.orm import new_id, one_of, table_of
from email_service.kernel.rows import insert_many
from email_service.kernel.tallies import MessageEvent
from email_service.messages.models import Event, Message, MessageContent


class Status(StrEnum):
    """What is true of a message now."""

    SCHEDULED = "scheduled"  # due later
    QUEUED = "queued"  # due now
    SENDING = "sending"  # leased by a worker
    DEFERRED = "deferred"  # will be tried again
    UNCERTAIN = "uncertain"  # the server may have taken it
    SENT = "sent"  # the next server took it; not yet in a mailbox
    DELIVERED = "delivered"  # the receiver's side reported it
    BOUNCED = "bounced"  # the address does not take mail
    COMPLAINED = "complained"  # the reader called it spam
    SUPPRESSED = "suppressed"  # the address must not be mailed
    FAILED = "failed"  # cannot ever be sent
    EXPIRED = "expired"  # its expires_at passed first
    CANCELLED = "cancelled"


WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.DEFERRED})
RETRYABLE = frozenset({Status.FAILED, Status.BOUNCED, Status.UNCERTAIN, Status.EXPIRED})

_MOVES: dict[Status, frozenset[Status]] = {
    # A claim is one SQL statement over many rows, so `outbox` writes `sending`; this table still says from where.
    # Suppressed and cancelled at accept: the address is suppressed, or mail is switched off.
    Status.SCHEDULED: frozenset({Status.SENDING, Status.QUEUED, Status.SUPPRESSED, Status.CANCELLED, Status.EXPIRED}),
    Status.QUEUED: frozenset({Status.SENDING, Status.SCHEDULED, Status.SUPPRESSED, Status.CANCELLED, Status.EXPIRED}),
    Status.DEFERRED: frozenset({Status.SENDING, Status.QUEUED, Status.SCHEDULED, Status.CANCELLED, Status.EXPIRED}),
    Status.SENDING: frozenset(
        {
            Status.SENT,
            Status.DEFERRED,
            Status.UNCERTAIN,
            Status.BOUNCED,
            Status.FAILED,
            Status.EXPIRED,
            Status.SUPPRESSED,
        }
    ),
    # Tried again once by itself (sending), or when somebody asks for it (queued).
    Status.UNCERTAIN: frozenset({Status.SENDING, Status.QUEUED}),
    Status.SENT: frozenset({Status.DELIVERED, Status.BOUNCED, Status.COMPLAINED}),
    # A receiver may report a delivery and still send the mail back, and a reader complains after delivery.
    Status.DELIVERED: frozenset({Status.BOUNCED, Status.COMPLAINED}),
    Status.BOUNCED: frozenset({Status.QUEUED}),
    Status.COMPLAINED: frozenset(),
    Status.SUPPRESSED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.EXPIRED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset(),
}
CLAIMABLE = frozenset(status for status, moves in _MOVES.items() if Status.SENDING in moves)
FINAL = frozenset(Status) - CLAIMABLE - {Status.SENDING}


def is_allowed(before: Status, after: Status) -> bool:
    """Whether a message may move from the one status to the other."""
    return after in _MOVES[before]


def begin(row: dict[str, Any], end: tuple[Status, str] | None = None) -> list[dict[str, Any]]:
    """The rows of the first events of a message that is being accepted; `row` is its own, with its first status.

    `end` is the status that it must have at once instead, and the reason: it is never due then.
    """
    facts: list[tuple[str, dict[str, Any]]] = [("accepted", {"template_version": row["template_version"]})]
    if end is not None:
        status, reason = end
        if not is_allowed(Status(row["status"]), status) or status not in FINAL:
            raise StatusConflictError(f"A message that is {row['status']} cannot become {status} at once.")
        row.update(status=status, due_at=None, finished_at=row["created_at"])
        facts.append((status, {"reason": reason}))
    return [_event(row["id"], f"message.{name}", row["created_at"], data) for name, data in facts]


def apply(message: Message, status: Status, route: str = "", **data: Any) -> Event:
    """Move the message and record `message.<status>` with `data`; StatusConflictError when the move is not allowed.

    A final status ends every lease and due time. Where the message is to be looked at again, the caller sets `due_at`.
    `route` is that of the attempt which moves it, for the figures.
    """
    before = Status(message.status)
    if not is_allowed(before, status):
        raise StatusConflictError(f"The message is {before}; it cannot become {status} any more.")
    message.status = status
    message.lease_id = None
    message.claimed_from = None
    message.due_at = None
    message.finished_at = clock.now() if status in FINAL else None
    if status in FINAL and message.is_sensitive:
        message.content = None
    count(message, status, route)
    return record(message, f"message.{status}", **data)


def apply_sent(session: Session, lease_id: UUID, message_ids: Collection[UUID]) -> frozenset[UUID]:
    """Move many messages of one lease from `sending` to `sent`, in one statement; the ids of those that the lease held.

    Their events are written by whoever knows what the server said.
    """
    moved = session.execute(_APPLY_SENT, {"ids": list(message_ids), "lease": lease_id, "now": clock.now()}).all()
    if sensitive := [message_id for message_id, is_sensitive in moved if is_sensitive]:
        session.execute(_WIPE, {"ids": sensitive})
    return frozenset(message_id for message_id, _ in moved)


def record_all(session: Session, name: str, facts: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Add one fact about each of many messages, in one statement; `facts` has each message's data."""
    insert_many(session.connection(), {EVENTS: events(name, facts)})


def events(name: str, facts: Mapping[UUID, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of such facts, for whoever writes them together with others."""
    now = clock.now()
    return [_event(message_id, name, now, data) for message_id, data in facts.items()]


def count(message: Message, event: str, route: str = "") -> None:
    """Note for the figures what happened to the message, if its transaction is committed."""
    if session := object_session(message):
        tallies.note(session, MessageEvent(event, message.lane, message.template, route))


def record(message: Message, name: str, **data: Any) -> Event:
    """Add a fact about the message without moving it."""
    event = Event(name=name, occurred_at=clock.now(), data=data)
    message.events.add(event)
    return event


def _event(message_id: UUID, name: str, occurred_at: datetime, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": new_id(), "message_id": message_id, "name": name, "occurred_at": occurred_at, "data": data}


EVENTS = table_of(Event)
# Built once: to build one of these takes longer than to run it.
_messages, _contents = table_of(Message).c, table_of(MessageContent).c
_APPLY_SENT = (
    update(table_of(Message))
    .where(
        one_of(_messages.id, "ids"),
        _messages.lease_id == bindparam("lease"),
        _messages.status == Status.SENDING,
    )
    .values(
        status=Status.SENT,
        attempt_count=_messages.attempt_count + 1,
        finished_at=bindparam("now"),
        lease_id=None,
        claimed_from=None,
        due_at=None,
    )
    .returning(_messages.id, _messages.is_sensitive)
)
_WIPE = delete(table_of(MessageContent)).where(one_of(_contents.message_id, "ids"))
