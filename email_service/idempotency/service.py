"""Do a thing once for each Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).

The record is written in the caller's transaction, so what was created and the answer that names it stand or fall
together. Knows nothing of HTTP and of what it guards.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    String,
    and_,
    bindparam,
    delete,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from email_service.idempotency.models import IdempotencyRecord
from email_service.kernel import clock
from email_service.kernel.errors import IdempotencyInFlightError, IdempotencyKeyReusedError
from email_service.kernel.orm import database_now, table_of
from email_service.kernel.rows import NewRow, broken_constraint, insert_together

KEPT_FOR = timedelta(hours=72)
RECORDS = table_of(IdempotencyRecord)
RECORDED = (RECORDS.c.body_hash, RECORDS.c.answer, RECORDS.c.created_at.label("recorded_at"))


@dataclass(frozen=True, slots=True)
class Scope:
    """What makes two requests the same: client, route, key and the body itself."""

    client_id: UUID
    route: str
    key: str
    body: Any

    @property
    def body_hash(self) -> bytes:
        """SHA-256 of the body in a form that does not depend on white space or the order of members."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True, separators=(",", ":")).encode()).digest()

    @property
    def lock_number(self) -> int:
        """A signed 64-bit number for an advisory lock; a collision costs a needless 409, never a wrong answer."""
        digest = hashlib.sha256(f"{self.client_id}\n{self.route}\n{self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of a statement with `lock` and `is_recorded` in it."""
        return {"idempotency_route": self.route, "idempotency_key": self.key, "idempotency_lock": self.lock_number}

    def record(self, answer: Any) -> NewRow:
        """The row that has the request answered the same from now on."""
        return RECORDS, {
            "client_id": self.client_id,
            "route": self.route,
            "key": self.key,
            "body_hash": self.body_hash,
            "answer": answer,
            "created_at": clock.now(),
        }


NO_SCOPE: Mapping[str, Any] = dict.fromkeys(("idempotency_route", "idempotency_key", "idempotency_lock"))


def once(session: Session, scope: Scope, act: Callable[[], Any]) -> tuple[Any, bool]:
    """The answer of `act` and False; or the recorded answer and True when this request was answered before.

    Raises IdempotencyInFlightError while another transaction works under the key, and IdempotencyKeyReusedError when
    the key came with another body.
    """
    always = select(literal(1)).subquery()
    records = is_recorded(RECORDS.c.client_id == scope.client_id)
    look = select(lock(session.get_bind().dialect.name), *RECORDED).select_from(always.outerjoin(RECORDS, records))
    found = session.execute(look, scope.parameters).one()
    if replayed := find_replay(session.connection(), scope, found):
        return replayed[0], True
    answer = act()
    write(session.connection(), [scope.record(answer)])
    return answer, False


def lock(dialect_name: str) -> ColumnElement[bool]:
    """A column that takes the lock of a scope's key: true, or false while another transaction has it.

    The lock ends with the transaction, after its commit is visible. SQLite admits one transaction at a time, so there
    nobody is ever in flight.
    """
    if dialect_name != "postgresql":
        return literal(value=True).label("is_ours")
    number = bindparam("idempotency_lock", type_=BigInteger)
    return func.pg_try_advisory_xact_lock(number, type_=Boolean).label("is_ours")


def is_recorded(is_of_client: ColumnElement[bool]) -> ColumnElement[bool]:
    """What holds of the record of a scope's key, given what holds of the records of its client."""
    route, key = bindparam("idempotency_route", type_=String), bindparam("idempotency_key", type_=String)
    return and_(is_of_client, RECORDS.c.route == route, RECORDS.c.key == key)


def find_replay(connection: Connection, scope: Scope, found: Any) -> tuple[Any] | None:
    """The recorded answer, in a tuple, if this is the same request again; `found` has `lock` and RECORDED.

    Raises as `once` does. A record that is too old to protect anything makes room.
    """
    if not found.is_ours:
        raise IdempotencyInFlightError(retry_after_seconds=1)
    if found.recorded_at is None:
        return None
    if found.recorded_at > clock.now() - KEPT_FOR:
        if found.body_hash != scope.body_hash:
            raise IdempotencyKeyReusedError
        return (found.answer,)
    its_own = is_recorded(RECORDS.c.client_id == scope.client_id)
    connection.execute(delete(RECORDS).where(its_own), scope.parameters)
    return None


def write(connection: Connection, rows: Sequence[NewRow]) -> None:
    """Insert what a request made, together with its record, after `find_replay` found none."""
    try:
        insert_together(connection, rows)
    except IntegrityError as error:
        # Another transaction committed the same key after our statement had begun to look and before it got the lock.
        if broken_constraint(error) == RECORDS.primary_key.name:
            raise IdempotencyInFlightError(retry_after_seconds=1) from None
        raise


def forget_old(session: Session, limit: int = 1000) -> int:
    """Delete up to `limit` records that no longer protect anything; how many there were."""
    identity = (IdempotencyRecord.client_id, IdempotencyRecord.route, IdempotencyRecord.key)
    # In one order and past what others have locked, so that two who forget at once neither wait nor deadlock.
    old = (
        select(*identity)
        .where(_is_old())
        .order_by(IdempotencyRecord.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    removed = session.execute(
        delete(IdempotencyRecord).where(tuple_(*identity).in_(old)).returning(IdempotencyRecord.key),
        execution_options={"synchronize_session": False},
    )
    return len(removed.all())


def count_old(session: Session) -> int:
    """How many records no longer protect anything."""
    return session.scalar(select(func.count()).select_from(IdempotencyRecord).where(_is_old())) or 0


def _is_old() -> ColumnElement[bool]:
    return IdempotencyRecord.created_at < database_now(-KEPT_FOR)
