"""Looks at what was claimed before anything is sent: what may not go out gets its status, the rest becomes jobs.

Works on a whole claim at once, in the claim's transaction. Knows no network and unseals nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from email_service.delivery import letters, outbox
from email_service.delivery.outbox import Lease
from email_service.messages import state
from email_service.messages.state import Status
from email_service.rendering.catalog import Catalog
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Suppression

MAX_LOST_LEASES = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that may be sent, and to whom."""

    lease: Lease
    message: Any  # a row of outbox.read_claimed
    copies: tuple[str, ...]
    held_back: frozenset[str]  # copies that must not be mailed


def open_claimed(session: Session, catalog: Catalog, leases: Sequence[Lease]) -> list[Opened]:
    """Those of the claimed messages that may be sent; the others are brought to the status that says why not."""
    rows = outbox.read_claimed(session, leases)
    lease_of = {lease.message_id: lease for lease in leases}
    copies = {row.id: letters.find_copies(row) for row in rows}
    addresses = {row.recipient_email for row in rows}.union(*copies.values())
    found = suppressions.look_up(session, addresses)
    lost = {row.id: {"lost_leases": row.lost_lease_count} for row in rows if lease_of[row.id].is_after_loss}
    state.record_all(session, "message.lease_lost", lost)
    opened = []
    for row in rows:
        lease, category = lease_of[row.id], catalog.optional_category(row.template)
        suppression = None if row.is_forced else found.find(row.recipient_email, category)
        if hindrance := _find_hindrance(row, lease, suppression, holds=holds_when_uncertain(catalog, row)):
            if message := outbox.find_leased(session, lease):
                state.apply(message, hindrance[0], reason=hindrance[1])
        else:
            held_back = frozenset(email for email in copies[row.id] if found.find(email, category))
            mailable = tuple(email for email in copies[row.id] if email not in held_back)
            opened.append(Opened(lease, row, mailable, held_back))
    return opened


def holds_when_uncertain(catalog: Catalog, message: Any) -> bool:
    """Whether the message's template says that a second copy would be worse than none."""
    return message.template in catalog and catalog.get(message.template).on_uncertain == "hold"


def _find_hindrance(
    row: Any, lease: Lease, suppression: Suppression | None, *, holds: bool
) -> tuple[Status, str] | None:
    """Why the message must not be sent after all: the status that says so, and the reason; None if it may."""
    may_have_left = row.uncertain_count + row.lost_lease_count > 0
    if row.expires_at is not None and row.expires_at <= row.read_at:
        # `expired` would say that it was never sent.
        return Status.UNCERTAIN if may_have_left else Status.EXPIRED, "expires_at_passed"
    if suppression is not None:
        return Status.SUPPRESSED, suppression.reason
    # A worker died with this message in its hands: its last bytes may or may not have left the house.
    if lease.is_after_loss and (holds or row.lost_lease_count > MAX_LOST_LEASES):
        return Status.UNCERTAIN, "lease_lost"
    return None
