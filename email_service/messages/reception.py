"""One message from one request, in two statements: one question about everything, one insert of everything.

Does what `clients`, `idempotency`, `suppressions` and `service` would do one after the other, out of their own parts;
what each part means is theirs to say. Never commits; knows nothing of HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, String, Uuid, bindparam, select

from email_service.audit.service import Actor
from email_service.clients import service as clients
from email_service.clients.models import ApiKey
from email_service.clients.service import Caller
from email_service.idempotency import service as idempotency
from email_service.idempotency.service import RECORDED, RECORDS, Scope
from email_service.kernel import clock
from email_service.kernel.addresses import address_key
from email_service.kernel.categories import EVERYTHING, find_stopping
from email_service.kernel.errors import UnauthenticatedError
from email_service.kernel.orm import TZDateTime, database_now, one_of, table_of
from email_service.kernel.rows import ask
from email_service.kernel.tallies import MessageEvent
from email_service.messages import service
from email_service.messages.admission import Admission
from email_service.messages.service import Accepted, Intake
from email_service.messages.state import WAITING
from email_service.messages.submission import Submission
from email_service.suppressions.models import Suppression

_KEYS, _SUPPRESSIONS = table_of(ApiKey), table_of(Suppression)


@dataclass(frozen=True, slots=True)
class Letter:
    """A submission with who hands it in, and what makes the request the same as an earlier one."""

    submission: Submission
    caller: Caller  # whose key is only presumed to be live
    scope: Scope | None
    actor: Actor


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a letter is answered with."""

    answer: Any
    is_replayed: bool
    lanes: frozenset[str] = frozenset()  # to be woken once it is committed
    tallies: Sequence[MessageEvent] = ()  # to be counted then


def receive(connection: Connection, intake: Intake, letter: Letter, tell: Callable[[Accepted], Any]) -> Receipt:
    """Accept the message and answer what `tell` says of it, or repeat the answer of the same request before.

    Raises what `service.accept` and `idempotency.once` raise, and UnauthenticatedError, before anything is written,
    when the caller's key is no longer live. Needs no transaction: its insert is the last statement, and one alone.
    """
    found = _ask(connection, intake, letter)
    # Outside of a transaction the lock only tells that somebody else's transaction has it. Among requests like this one
    # the record's primary key arbitrates.
    if letter.scope and (replayed := idempotency.find_replay(connection, letter.scope, found)):
        return Receipt(replayed[0], is_replayed=True)
    draft = service.prepare(intake, letter.caller.client_id, letter.submission)
    terms = Admission(suppressed_for=found.reason, is_mail_off=intake.is_mail_off, actor=letter.actor)
    accepted, rows = service.settle(draft, terms, found.now)
    answer = tell(accepted)
    idempotency.write(connection, [*rows, letter.scope.record(answer)] if letter.scope else rows)
    lanes = {accepted.lane} if accepted.status in WAITING else ()
    return Receipt(answer, is_replayed=False, lanes=frozenset(lanes), tallies=accepted.tallies)


def _ask(connection: Connection, intake: Intake, letter: Letter) -> Any:
    category = intake.catalog.optional_category(letter.submission.template)
    values = {
        **(letter.scope.parameters if letter.scope else idempotency.NO_SCOPE),
        "key_id": letter.caller.key_id,
        "live_at": clock.now(),
        "suppression_key": address_key(letter.submission.to["email"]),
        "suppression_categories": list(find_stopping(category)),
    }
    found = ask(connection, _question(connection.dialect.name), values)
    if found is None:
        raise UnauthenticatedError
    return found


@lru_cache
def _question(dialect_name: str) -> Select[Any]:
    """Of a live key: the time, the lock and the record of the idempotency key, and why the address is suppressed."""
    records = idempotency.is_recorded(RECORDS.c.client_id == _KEYS.c.client_id)
    stopping = select(_SUPPRESSIONS.c.reason).where(
        _SUPPRESSIONS.c.key == bindparam("suppression_key", type_=String),
        one_of(_SUPPRESSIONS.c.category, "suppression_categories"),
    )
    # What is said of all mail comes first; several may stop it, and one is told.
    reason = stopping.order_by(_SUPPRESSIONS.c.category != EVERYTHING).limit(1).scalar_subquery()
    lock = idempotency.lock(dialect_name)
    return (
        select(database_now().label("now"), lock, *RECORDED, reason.label("reason"))
        .select_from(clients.live_keys().outerjoin(RECORDS, records))
        .where(
            _KEYS.c.id == bindparam("key_id", type_=Uuid),
            clients.still_live(bindparam("live_at", type_=TZDateTime)),
        )
    )
