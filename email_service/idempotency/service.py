"""Do a thing once for each Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).

The record is written in the caller's transaction, so what was created and the answer that names it stand or fall
together. Knows nothing of HTTP and of what it guards.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import Session

from email_service.idempotency.models import IdempotencyRecord
from email_service.kernel import clock
from email_service.kernel.errors import IdempotencyInFlightError, IdempotencyKeyReusedError
from email_service.kernel.orm import database_now

KEPT_FOR = timedelta(hours=72)


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


def once(session: Session, scope: Scope, act: Callable[[], Any]) -> tuple[Any, bool]:
    """The answer of `act` and False; or the recorded answer and True when this request was answered before.

    Raises IdempotencyInFlightError while another transaction works under the key, and IdempotencyKeyReusedError when
    the key came with another body.
    """
    _lock(session, scope)
    record = session.get(IdempotencyRecord, (scope.client_id, scope.route, scope.key))
    if record is not None and record.created_at > clock.now() - KEPT_FOR:
        if record.body_hash != scope.body_hash:
            raise IdempotencyKeyReusedError
        return record.answer, True
    if record is not None:
        session.delete(record)
        session.flush()
    answer = act()
    session.add(
        IdempotencyRecord(
            client_id=scope.client_id,
            route=scope.route,
            key=scope.key,
            body_hash=scope.body_hash,
            answer=answer,
            created_at=clock.now(),
        )
    )
    session.flush()
    return answer, False


def forget_old(session: Session, limit: int = 1000) -> int:
    """Delete up to `limit` records that no longer protect anything; how many there were."""
    identity = (IdempotencyRecord.client_id, IdempotencyRecord.route, IdempotencyRecord.key)
    old = select(*identity).where(IdempotencyRecord.created_at < database_now(-KEPT_FOR)).limit(limit)
    removed = session.execute(
        delete(IdempotencyRecord).where(tuple_(*identity).in_(old)).returning(IdempotencyRecord.key),
        execution_options={"synchronize_session": False},
    )
    return len(removed.all())


def _lock(session: Session, scope: Scope) -> None:
    # The lock ends with the transaction, after its commit is visible: whoever gets it next sees the record. SQLite
    # admits one transaction at a time, so there nobody is ever in flight.
    if session.get_bind().dialect.name != "postgresql":
        return
    if not session.scalar(select(func.pg_try_advisory_xact_lock(scope.lock_number))):
        raise IdempotencyInFlightError(retry_after_seconds=1)
