"""The queue, which is the messages' table: claim what is due, give it back, put it off, keep it.

A row's `due_at` says when somebody must look at it next. While a worker holds a lease, that is when the lease ends; so
a dead worker's rows come due again by themselves, and no second mechanism looks for them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Integer, and_, bindparam, case, func, literal, not_, select, update
from sqlalchemy.orm import Session

from email_service.kernel import clock
from email_service.kernel.orm import database_now, new_id, one_of, table_of
from email_service.messages.models import Message, MessageContent
from email_service.messages.state import Status

COUNT_BOUND = 100_000  # an index's entries are counted one by one


class Hold(StrEnum):
    """Why a due message was put off without an attempt."""

    ROUTE_DOWN = "route_down"  # every route it could take has an open breaker
    ROUTE_RATE = "route_rate"  # its route may not be used faster
    DOMAIN_RATE = "domain_rate"  # its recipient's domain may not be mailed faster
    NO_ROUTE = "no_route"  # no configured route takes its lane and sender


@dataclass(frozen=True, slots=True)
class Lease:
    """The bounded right of one worker to send one message now."""

    message_id: UUID
    lease_id: UUID
    claimed_from: Status  # `sending`: a lease was lost, the one before this or an earlier one
    ends_at_seconds: float  # on clock.monotonic_seconds, unless it is renewed
    is_after_loss: bool = False  # the lease before this one was lost


def find_due_clients(session: Session, lane: str) -> list[UUID]:
    """The clients with a due message in the lane, in the order of their ids; one index step for each that waits."""
    return list(session.execute(_DUE_CLIENTS, {"in_lane": lane}).scalars())


def claim(session: Session, lane: str, client_id: UUID, limit: int, lease_seconds: float) -> list[Lease]:
    """Lease up to `limit` due messages of one client, the longest due first. The caller commits at once.

    Two claims at the same time never return the same message: on PostgreSQL rows are locked and skipped, and SQLite
    admits one writer at a time.
    """
    lease_id, ends_at = new_id(), clock.monotonic_seconds() + lease_seconds
    given = {"in_lane": lane, "of_client": client_id, "limit": limit, "seconds": lease_seconds, "new_lease": lease_id}
    rows = session.execute(_CLAIM, given)
    return [
        Lease(message_id, lease_id, _STATUSES.get(was) or Status(was), ends_at, was == Status.SENDING)
        for message_id, was in rows
    ]


def read_claimed(session: Session, leases: Collection[Lease]) -> Sequence[Any]:
    """What sending needs to know of these messages, in the order in which they became due; attachments stay behind."""
    return session.execute(_READ, {"ids": [lease.message_id for lease in leases]}).all() if leases else []


def give_back(
    session: Session, leases: Collection[Lease], delay_seconds: float = 0, held_by: Hold | None = None
) -> None:
    """Return messages that nobody began to send, as if they had not been claimed; due after the delay.

    One that an earlier lease was lost of stays `sending`, without a lease: it may have left, so nobody can cancel it.
    """
    session.execute(_GIVE_BACK, {**_identify(leases), "seconds": delay_seconds, "hold": held_by})


def renew(session: Session, leases: Collection[Lease], lease_seconds: float) -> frozenset[UUID]:
    """Let the leases last for `lease_seconds` from now; the ids of those messages that are still ours."""
    return frozenset(session.execute(_RENEW, {**_identify(leases), "seconds": lease_seconds}).scalars())


def find_leased(session: Session, lease: Lease) -> Message | None:
    """The message, locked, if the lease still holds; None when another worker has taken it over."""
    statement = select(Message).where(Message.id == lease.message_id, Message.lease_id == lease.lease_id)
    return session.scalar(statement.with_for_update().execution_options(populate_existing=True))


def oldest_due_seconds(session: Session, lane: str) -> float | None:
    """How long the message of the lane that is due longest has waited for a worker; None when nothing waits."""
    due_at, now = session.execute(_OLDEST_DUE, {"in_lane": lane}).one()
    return (now - due_at).total_seconds() if due_at else None


def count_due(session: Session, lane: str) -> int:
    """How many messages of the lane wait for a worker; of one client at most COUNT_BOUND are counted."""
    return int(session.scalar(_COUNT_DUE, {"in_lane": lane, "bound": COUNT_BOUND}) or 0)


def _identify(leases: Collection[Lease]) -> dict[str, Any]:
    # A pair of a message and a lease that do not belong together exists only if one process lost a message and claimed
    # it again, both within one batch; then the later lease is the true one, and it is still ours.
    return {"ids": [lease.message_id for lease in leases], "leases": list({lease.lease_id for lease in leases})}


# Built once: to build one of these takes longer than to run it.

_table = table_of(Message).c
# What a claim writes down where it finds `sending` without a lease, so that the loss before is not counted once more.
_GIVEN_BACK = "given_back"
_STATUSES = {_GIVEN_BACK: Status.SENDING}
_IN_LANE = (_table.lane == bindparam("in_lane"), _table.due_at.is_not(None))
_IS_DUE = (*_IN_LANE, _table.due_at <= database_now())
_STILL_LEASED = (
    one_of(_table.id, "ids"),
    one_of(_table.lease_id, "leases"),
)
_IN_SECONDS = database_now(bindparam("seconds", type_=Float()))


def _pending_clients() -> Any:
    """Each client that has anything in the lane's index, found by jumping from one to the next; the last is null."""
    following = table_of(Message).alias()
    first = select(_table.client_id).where(*_IN_LANE).order_by(_table.client_id).limit(1)
    clients = select(first.scalar_subquery().label("client_id")).cte("clients", recursive=True)
    after = (
        select(following.c.client_id)
        .where(
            following.c.lane == bindparam("in_lane"),
            following.c.due_at.is_not(None),
            following.c.client_id > clients.c.client_id,
        )
        .order_by(following.c.client_id)
        .limit(1)
        .scalar_subquery()
    )
    return clients.union_all(select(after).where(clients.c.client_id.is_not(None)))


def _make_due_clients() -> Any:
    pending = _pending_clients()
    due = select(_table.id).where(_table.client_id == pending.c.client_id, *_IS_DUE)
    return (
        select(pending.c.client_id).where(pending.c.client_id.is_not(None), due.exists()).order_by(pending.c.client_id)
    )


def _make_oldest_due() -> Any:
    pending = _pending_clients()
    head = select(func.min(_table.due_at)).where(_table.client_id == pending.c.client_id, *_IS_DUE)
    earliest = select(head.scalar_subquery().label("due_at")).where(pending.c.client_id.is_not(None)).subquery()
    return select(func.min(earliest.c.due_at), database_now())


def _make_count_due() -> Any:
    pending = _pending_clients()
    of_client = (
        select(literal(1))
        .where(_table.client_id == pending.c.client_id, *_IS_DUE)
        .limit(bindparam("bound", type_=Integer()))
    )
    count = select(func.count()).select_from(of_client.correlate(pending).subquery()).scalar_subquery()
    counts = select(count.label("count")).where(pending.c.client_id.is_not(None)).subquery()
    return select(func.sum(counts.c.count))


def _make_claim() -> Any:
    due = (
        select(_table.id)
        .where(_table.client_id == bindparam("of_client"), *_IS_DUE)
        .order_by(_table.due_at)
        .limit(bindparam("limit", type_=Integer()))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    may_have_left = _table.status == Status.SENDING
    is_given_back = and_(may_have_left, _table.lease_id.is_(None))
    return (
        update(table_of(Message))
        .where(_table.id.in_(select(due.c.id)))
        .values(
            claimed_from=case((is_given_back, _GIVEN_BACK), else_=_table.status),
            status=Status.SENDING,
            lease_id=bindparam("new_lease"),
            held_by=None,
            due_at=_IN_SECONDS,
            lost_lease_count=_table.lost_lease_count + case((and_(may_have_left, not_(is_given_back)), 1), else_=0),
        )
        .returning(_table.id, _table.claimed_from)
    )


_DUE_CLIENTS = _make_due_clients()
_OLDEST_DUE = _make_oldest_due()
_COUNT_DUE = _make_count_due()
_CLAIM = _make_claim()
_READ = (
    select(
        *_table["id", "client_id", "lane", "template", "locale", "recipient_email", "recipient_name", "cc", "bcc"],
        *_table["reply_to", "sender", "headers", "message_id_header", "created_at", "is_sensitive", "is_forced"],
        *_table["uncertain_count", "lost_lease_count", "round_began_at", "request_id", "trace_parent"],
        *table_of(MessageContent).c["variables", "token_nonce"],
        table_of(MessageContent).c.attachments.is_not(None).label("has_attachments"),
        _table.expires_at,
        database_now().label("read_at"),
    )
    .select_from(table_of(Message).outerjoin(table_of(MessageContent)))
    .where(one_of(_table.id, "ids"))
    .order_by(_table.round_began_at)
)
_GIVE_BACK = (
    update(table_of(Message))
    .where(*_STILL_LEASED)
    .values(
        status=case((_table.claimed_from == _GIVEN_BACK, literal(Status.SENDING.value)), else_=_table.claimed_from),
        due_at=_IN_SECONDS,
        held_by=bindparam("hold"),
        lease_id=None,
        claimed_from=None,
    )
)
_RENEW = update(table_of(Message)).where(*_STILL_LEASED).values(due_at=_IN_SECONDS).returning(_table.id)
