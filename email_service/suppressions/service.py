"""Suppress an address, let it be mailed again, and ask whether it may be. Every change is audited, none is committed.

A suppression is of all mail or of one category; `kernel.categories` says which of them stop a message. An address is
taken as `kernel.addresses.parse` made it, unless a function says that it takes what a person wrote.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from email_service.audit import service as audit
from email_service.audit.service import WORKER, Actor
from email_service.kernel import clock
from email_service.kernel.addresses import address_key, parse
from email_service.kernel.categories import EVERYTHING, find_stopping
from email_service.kernel.errors import InvalidInputError, NotFoundError
from email_service.kernel.orm import one_of, table_of
from email_service.suppressions.models import Reason, Suppression

_AMONG = select(Suppression).where(one_of(table_of(Suppression).c.key, "keys"))


@dataclass(frozen=True, slots=True)
class Suppressions:
    """All suppressions of some addresses, as they were when they were asked for."""

    by_key: Mapping[str, Mapping[str, Suppression]]  # and by category

    @classmethod
    def of(cls, rows: Iterable[Suppression]) -> "Suppressions":
        """These, in whatever order."""
        by_key: dict[str, dict[str, Suppression]] = {}
        for row in rows:
            by_key.setdefault(row.key, {})[row.category] = row
        return cls(by_key)

    def find(self, email: str, category: str | None) -> Suppression | None:
        """What stops mail of this category to the address; None is mail that nobody can unsubscribe from."""
        rows = self.by_key.get(address_key(email), {})
        return next((rows[each] for each in find_stopping(category) if each in rows), None)

    def find_reason(self, email: str, category: str | None) -> str | None:
        """Why mail of this category must not go to the address, if it must not."""
        found = self.find(email, category)
        return found.reason if found else None

    def gets(self, email: str, category: str) -> bool:
        """Whether nothing is said against the category itself, whatever is said of the address."""
        rows = self.by_key.get(address_key(email), {})
        return rows.keys().isdisjoint(set(find_stopping(category)) - {EVERYTHING})


def look_up(session: Session, emails: Collection[str]) -> Suppressions:
    """The suppressions of these addresses; one query, however many they are."""
    if not emails:
        return Suppressions({})
    return Suppressions.of(session.scalars(_AMONG, {"keys": list({address_key(email) for email in emails})}))


def suppress(session: Session, email: str, reason: Reason, message_id: UUID | None = None) -> None:
    """Suppress the address because of what a worker learned. One that is suppressed already keeps its first reason."""
    row = Suppression(email=email, category=EVERYTHING, reason=reason, message_id=message_id)
    insert(session, row, WORKER)


def get(session: Session, written: str, category: str) -> Suppression:
    """The suppression of the category and the address that a person wrote; NotFoundError when there is none."""
    found = session.get(Suppression, (address_key(_parsed(written)), category))
    if found is None:
        raise _not_suppressed(written, category)
    return found


def put(session: Session, written: str, category: str, reason: Reason | None, actor: Actor) -> tuple[Suppression, bool]:
    """Make sure that the category is suppressed for the address a person wrote; its row, and whether it is new.

    Without a reason a new row is `manual` and one that is there stays as it is. Another reason than the one that is
    there takes its place, and the message that caused the first one is forgotten.
    """
    email = _parsed(written)
    key = (address_key(email), category)
    wanted = Suppression(email=email, category=category, reason=reason or Reason.MANUAL)
    while not insert(session, wanted, actor):
        found = session.get(Suppression, key, with_for_update=True, populate_existing=True)
        # Gone again if somebody removed it in between.
        if found is not None:
            if reason is not None and reason != found.reason:
                change = {"before": found.reason, "after": reason, **_of(category)}
                audit.record(session, actor, "suppression.changed", email, **change)
                found.reason, found.message_id = reason, None
                session.flush()
            return found, False
    return session.get_one(Suppression, key), True


def remove(session: Session, written: str, category: str, actor: Actor) -> None:
    """Let the address that a person wrote get the category again; NotFoundError when it does already."""
    if not lift(session, _parsed(written), category, actor):
        raise _not_suppressed(written, category)


def lift(session: Session, email: str, category: str, actor: Actor) -> bool:
    """Delete the suppression, if there is one; whether there was."""
    columns = (Suppression.reason, Suppression.message_id, Suppression.created_at)
    row = session.execute(
        delete(Suppression)
        .where(Suppression.key == address_key(email), Suppression.category == category)
        .returning(*columns),
        execution_options={"synchronize_session": False},
    ).first()
    if row is None:
        return False
    since = row.created_at.isoformat()
    data = {"reason": row.reason, "created_at": since, **_of(category), **_caused_by(row.message_id)}
    audit.record(session, actor, "suppression.removed", email, **data)
    return True


def insert(session: Session, row: Suppression, actor: Actor) -> bool:
    """Write the row unless there is one of its address and category; whether it is new, which is then audited."""
    values = {
        "key": address_key(row.email),
        "category": row.category,
        "email": row.email,
        "reason": row.reason,
        "message_id": row.message_id,
        "created_at": clock.now(),
    }
    # Two workers may learn of the same bounce at once; the second must not fail its message's transaction.
    insert_into = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert_into(Suppression).values(**values).on_conflict_do_nothing().returning(Suppression.key)
    is_new = session.execute(statement).first() is not None
    if is_new:
        data = {"reason": row.reason, **_of(row.category), **_caused_by(row.message_id)}
        audit.record(session, actor, "suppression.added", row.email, **data)
    return is_new


def _caused_by(message_id: UUID | None) -> dict[str, Any]:
    return {"message_id": str(message_id)} if message_id else {}


def _of(category: str) -> dict[str, str]:
    return {} if category == EVERYTHING else {"category": category}


def _parsed(written: str) -> str:
    try:
        return parse(written).email
    except InvalidInputError as error:
        raise InvalidInputError.at("/email", error.detail) from None


def _not_suppressed(written: str, category: str) -> NotFoundError:
    what = "it may be mailed" if category == EVERYTHING else f"this category ({category}) may be mailed to it"
    return NotFoundError(f"{written} is not suppressed; {what}.")
