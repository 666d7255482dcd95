"""The only place where a message's status changes, and the table of moves that are allowed.

Knows nothing of SMTP and of when to try again; it writes the status and the event that goes with it.
"""

from enum import StrEnum
from typing import Any

from email_service.kernel import clock
from email_service.kernel.errors import StatusConflictError
from email_service.messages.models import Event, Message


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


def apply(message: Message, status: Status, **data: Any) -> Event:
    """Move the message and record `message.<status>` with `data`; StatusConflictError when the move is not allowed.

    A final status ends every lease and due time. Where the message is to be looked at again, the caller sets `due_at`.
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
    return record(message, f"message.{status}", **data)


def record(message: Message, name: str, **data: Any) -> Event:
    """Add a fact about the message without moving it."""
    event = Event(name=name, occurred_at=clock.now(), data=data)
    message.events.add(event)
    return event
