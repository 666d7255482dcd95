"""Suppress an address, let it be mailed again, and ask whether it may be. Every change is audited, none is committed.

An address is taken as `kernel.addresses.parse` made it, unless a function says that it takes what a person wrote.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from email_service.audit import service as audit
from email_service.audit.service import WORKER, Actor
from email_service.kernel import clock
from email_service.kernel.addresses import address_key, parse
from email_service.kernel.errors import InvalidInputError, NotFoundError
from email_service.kernel.orm import one_of, table_of
from email_service.suppressions.models import Reason, Suppression

_AMONG = select(Suppression).where(one_of(table_of(Suppression).c.key, "keys"))


def find(session: Session, email: str) -> Suppression | None:
    """The suppression of this address, or None when it may be mailed."""
    return session.get(Suppression, address_key(email))


def suppressed_among(session: Session, emails: Collection[str]) -> dict[str, Suppression]:
    """Those of the addresses that must not be mailed, each with its row; one query, however many they are."""
    if not emails:
        return {}
    keys = {email: address_key(email) for email in emails}
    rows = session.scalars(_AMONG, {"keys": list(set(keys.values()))})
    found = {row.key: row for row in rows}
    return {email: found[key] for email, key in keys.items() if key in found}


def suppress(session: Session, email: str, reason: Reason, message_id: UUID | None = None) -> None:
    """Suppress the address because of what a worker learned. One that is suppressed already keeps its first reason."""
    _insert(session, Suppression(email=email, reason=reason, message_id=message_id), WORKER)


def get(session: Session, written: str) -> Suppression:
    """The suppression of the address that a person wrote; NotFoundError when it may be mailed."""
    found = find(session, _parsed(written))
    if found is None:
        raise _not_suppressed(written)
    return found


def put(session: Session, written: str, reason: Reason | None, actor: Actor) -> tuple[Suppression, bool]:
    """Make sure that the address a person wrote is suppressed; its row, and whether it is new.

    Without a reason a new row is `manual` and one that is there stays as it is. Another reason than the one that is
    there takes its place, and the message that caused the first one is forgotten.
    """
    email = _parsed(written)
    key = address_key(email)
    while not _insert(session, Suppression(email=email, reason=reason or Reason.MANUAL, message_id=None), actor):
        found = session.get(Suppression, key, with_for_update=True, populate_existing=True)
        # Gone again if somebody removed it in between.
        if found is not None:
            if reason is not None and reason != found.reason:
                audit.record(session, actor, "suppression.changed", email, before=found.reason, after=reason)
                found.reason, found.message_id = reason, None
                session.flush()
            return found, False
    return session.get_one(Suppression, key), True


def remove(session: Session, written: str, actor: Actor) -> None:
    """Let the address that a person wrote be mailed again; NotFoundError when it may be already."""
    email = _parsed(written)
    columns = (Suppression.reason, Suppression.message_id, Suppression.created_at)
    row = session.execute(
        delete(Suppression).where(Suppression.key == address_key(email)).returning(*columns),
        execution_options={"synchronize_session": False},
    ).first()
    if row is None:
        raise _not_suppressed(written)
    data = {"reason": row.reason, "created_at": row.created_at.isoformat(), **_caused_by(row.message_id)}
    audit.record(session, actor, "suppression.removed", email, **data)


def _insert(session: Session, row: Suppression, actor: Actor) -> bool:
    """Write the row unless the address is suppressed; whether it is new, which is then audited."""
    values = {
        "key": address_key(row.email),
        "email": row.email,
        "reason": row.reason,
        "message_id": row.message_id,
        "created_at": clock.now(),
    }
    # Two workers may learn of the same bounce at once; the second must not fail its message's transaction.
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(Suppression).values(**values).on_conflict_do_nothing().returning(Suppression.key)
    is_new = session.execute(statement).first() is not None
    if is_new:
        audit.record(session, actor, "suppression.added", row.email, reason=row.reason, **_caused_by(row.message_id))
    return is_new


def _caused_by(message_id: UUID | None) -> dict[str, Any]:
    return {"message_id": str(message_id)} if message_id else {}


def _parsed(written: str) -> str:
    try:
        return parse(written).email
    except InvalidInputError as error:
        raise InvalidInputError.at("/email", error.detail) from None


def _not_suppressed(written: str) -> NotFoundError:
    return NotFoundError(f"{written} is not suppressed; it may be mailed.")
