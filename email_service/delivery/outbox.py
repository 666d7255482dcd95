"""The queue, which is the messages' table: claim what is due, give it back, find what is still ours.

A row's `due_at` says when somebody must look at it next. While a worker holds a lease, that is when the lease ends; so
a dead worker's rows come due again by themselves, and no second mechanism looks for them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, case, select, update
from sqlalchemy.orm import Session, joinedload

from email_service.kernel import clock
from email_service.kernel.orm import database_now, new_id
from email_service.messages.models import Message
from email_service.messages.state import Status


@dataclass(frozen=True, slots=True)
class Lease:
    """The bounded right of one worker to send one message now."""

    message_id: UUID
    lease_id: UUID
    claimed_from: Status  # `sending`: the lease before this one was lost
    ends_at_seconds: float  # on clock.monotonic_seconds


def claim(session: Session, lanes: Sequence[str], limit: int, lease_seconds: float) -> list[Lease]:
    """Lease up to `limit` due messages, the earlier lanes first, the longest due first. The caller commits at once.

    Two claims at the same time never return the same message: on PostgreSQL rows are locked and skipped, and SQLite
    admits one writer at a time.
    """
    leases: list[Lease] = []
    for lane in lanes:
        if len(leases) < limit:
            leases += _claim_lane(session, lane, limit - len(leases), lease_seconds)
    return leases


def release(session: Session, leases: Collection[Lease]) -> None:
    """Give back messages that nobody began to send; they are due again at once, as if they had not been claimed."""
    session.execute(
        update(Message)
        .where(
            Message.id.in_([lease.message_id for lease in leases]),
            Message.lease_id.in_({lease.lease_id for lease in leases}),
        )
        .values(
            status=Message.claimed_from,
            due_at=database_now(),
            lease_id=None,
            claimed_from=None,
            # The claim counted an earlier lease as lost; the next claim finds `sending` again and counts it again.
            lost_lease_count=Message.lost_lease_count - case((Message.claimed_from == Status.SENDING, 1), else_=0),
        ),
        execution_options={"synchronize_session": False},
    )


def find_leased(session: Session, lease: Lease) -> Message | None:
    """The message, locked, if the lease still holds; None when another worker has taken it over."""
    return session.scalar(_leased(lease).with_for_update().execution_options(populate_existing=True))


def read_leased(session: Session, lease: Lease) -> Message | None:
    """As `find_leased`, with the content and without the lock, which PostgreSQL has to write to disk."""
    return session.scalar(_leased(lease).options(joinedload(Message.content)))


def is_expired(session: Session, message: Message) -> bool:
    """Whether the message's `expires_at` has passed, by the database's clock."""
    if message.expires_at is None:
        return False
    return bool(session.scalar(select(database_now() >= message.expires_at)))


def oldest_due_seconds(session: Session) -> float | None:
    """How long the message that is due longest has waited for a worker; None when nothing waits."""
    now = database_now()
    waiting = (Message.due_at.is_not(None), Message.due_at <= now, Message.status != Status.SENDING)
    row = session.execute(select(now, Message.due_at).where(*waiting).order_by(Message.due_at).limit(1)).first()
    return (row[0] - row[1]).total_seconds() if row and row[1] else None


def _leased(lease: Lease) -> Select[Message]:
    return select(Message).where(Message.id == lease.message_id, Message.lease_id == lease.lease_id)


def _claim_lane(session: Session, lane: str, limit: int, lease_seconds: float) -> list[Lease]:
    lease_id = new_id()
    due = (
        select(Message.id)
        .where(Message.lane == lane, Message.due_at.is_not(None), Message.due_at <= database_now())
        .order_by(Message.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    was_lost = Message.status == Status.SENDING
    rows = session.execute(
        update(Message)
        .where(Message.id.in_(select(due.c.id)))
        .values(
            claimed_from=Message.status,
            status=Status.SENDING,
            lease_id=lease_id,
            due_at=database_now(timedelta(seconds=lease_seconds)),
            lost_lease_count=Message.lost_lease_count + case((was_lost, 1), else_=0),
        )
        .returning(Message.id, Message.claimed_from),
        execution_options={"synchronize_session": False},
    ).all()
    ends_at = clock.monotonic_seconds() + lease_seconds
    return [Lease(message_id, lease_id, Status(claimed_from or ""), ends_at) for message_id, claimed_from in rows]
