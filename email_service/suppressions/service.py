"""Suppress an address, and ask whether one is. Flushes, never commits; decides nothing about messages."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from email_service.kernel import clock
from email_service.kernel.addresses import parse, suppression_key
from email_service.suppressions.models import Reason, Suppression


def find(session: Session, email: str) -> Suppression | None:
    """The suppression of this address, or None when it may be mailed."""
    return session.get(Suppression, suppression_key(parse(email)))


def suppressed_among(session: Session, emails: Collection[str]) -> frozenset[str]:
    """Those of the addresses that must not be mailed."""
    keys = {suppression_key(parse(email)): email for email in emails}
    found = session.scalars(select(Suppression.key).where(Suppression.key.in_(keys))) if keys else ()
    return frozenset(keys[key] for key in found)


def suppress(session: Session, email: str, reason: Reason, message_id: UUID | None = None) -> None:
    """Suppress the address. One that is suppressed already keeps its first reason."""
    values = {
        "key": suppression_key(parse(email)),
        "email": email,
        "reason": reason,
        "message_id": message_id,
        "created_at": clock.now(),
    }
    # Two workers may learn of the same bounce at once; the second must not fail its message's transaction.
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Suppression).values(**values).on_conflict_do_nothing())
