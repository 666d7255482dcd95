"""What somebody asked for publicly: written down with no look at who exists, and answered by a worker.

So a request costs and tells the same whether the address belongs to somebody or not (T11, T12). While the directory is
asked, a worker holds a request by a lease and no transaction. Knows no HTTP.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Self

import structlog
from sqlalchemy import Connection, Select, bindparam, delete, insert, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from email_service.accounts.directory import Person
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.clients.models import PUBLIC_CLIENT_ID
from email_service.kernel import clock, tallies
from email_service.kernel.errors import UnavailableError
from email_service.kernel.lanes import LANES
from email_service.kernel.orm import database_now, new_id, table_of
from email_service.kernel.rows import insert_together, run
from email_service.kernel.tallies import Count, TokenIssue
from email_service.tokens import service
from email_service.tokens.models import TokenRequest
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.service import Office, Order

LANE = LANES[0]  # whose workers answer, for that is where the mail goes
MAX_TRIES = 8
LEASE_SECONDS = 60.0  # many times what a directory may take
_ROUND_SECONDS = 5.0  # after which the lane's mail has its turn
_LONGEST_PAUSE_SECONDS = 300
_GIVEN = ("id", "purpose", "email", "locale", "ip", "request_id", "trace_parent", "requested_at", "try_count")
_RECORD = insert(table_of(TokenRequest)).values(  # built once: strangers ask often
    due_at=database_now(),
    **{name: bindparam(f"given_{name}", type_=table_of(TokenRequest).c[name].type) for name in _GIVEN},
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a stranger asked for, and from where."""

    purpose: Purpose
    email: str
    locale: str | None
    ip: str | None
    request_id: str
    trace_parent: str | None = None

    @classmethod
    def of(cls, actor: Actor, *, purpose: Purpose, email: str, locale: str | None) -> Self:
        """What this stranger asked for."""
        request_id, trace_parent = actor.request_id or "", actor.trace_parent
        return cls(
            purpose=purpose, email=email, locale=locale, ip=actor.ip, request_id=request_id, trace_parent=trace_parent
        )


def record(connection: Connection, wish: Wish) -> None:
    """Write the request down: one row, whoever the address belongs to. When it is committed, LANE has to be woken."""
    row = {
        "id": new_id(),
        "purpose": wish.purpose,
        "email": wish.email,
        "locale": wish.locale,
        "ip": wish.ip,
        "request_id": wish.request_id,
        "trace_parent": wish.trace_parent,
        "requested_at": clock.now(),
        "try_count": 0,
    }
    run(connection, _RECORD, {f"given_{name}": value for name, value in row.items()})


def note_limited(connection: Connection, wish: Wish) -> None:
    """Write down that there were too many requests for this address, and nothing else."""
    fact = audit.row(_actor(wish), "token.request_limited", wish.email, purpose=wish.purpose)
    insert_together(connection, [fact])


@dataclass(frozen=True, slots=True)
class Requests:
    """The drain that answers what is due, each request in a transaction of its own."""

    sessions: sessionmaker[Session]
    glances: sessionmaker[Session]
    office: Office
    count: Count = tallies.count_nothing

    def drain(self) -> int:
        """Answer until nothing is due, the directory is away or others waited enough; how many requests that was."""
        count, ends_at = 0, clock.monotonic_seconds() + _ROUND_SECONDS
        # A mere look must not keep SQLite's writers waiting.
        with self.glances() as session:
            is_due = session.scalar(_due().with_only_columns(TokenRequest.id)) is not None
        while is_due and (request := self._take()) is not None:
            count += 1
            is_due = self._settle(request) and clock.monotonic_seconds() < ends_at
        return count

    def _take(self) -> TokenRequest | None:
        """The request that is due longest, for as long as the lease lasts; those that others take are passed over."""
        with self.sessions.begin() as session:
            request: TokenRequest | None = session.scalar(_due().with_for_update(skip_locked=True))
            if request is not None:
                request.due_at = database_now(timedelta(seconds=LEASE_SECONDS))
        return request

    def _settle(self, request: TokenRequest) -> bool:
        """Answer the request or put it off; whether there is a directory to ask for the next one."""
        try:
            office = self.office.ask(email=request.email)
            self._answer(office, request)
        except (OperationalError, InterfaceError, PoolTimeoutError):
            raise  # the database is away, and with it everything that is due
        except UnavailableError:
            self._put_off(request.id)
            return False
        except Exception:  # noqa: BLE001 - the guard of the queue: one request must not stop those behind it
            _log.exception("token_request.failed", id=str(request.id))
            self._put_off(request.id)
        return True

    def _answer(self, office: Office, request: TokenRequest) -> None:
        with tallies.counted(self.sessions, self.count) as session:
            _answer(session, office, request)
            # Last, in the order in which an account and what points to it are erased.
            its_own = delete(TokenRequest).where(TokenRequest.id == request.id).returning(TokenRequest.id)
            if session.execute(its_own, execution_options={"synchronize_session": False}).first() is None:
                session.rollback()  # the lease ended first, and somebody else answered
                tallies.take(session)

    def _put_off(self, request_id: object) -> None:
        with tallies.counted(self.sessions, self.count) as session:
            request = session.get(TokenRequest, request_id, with_for_update=True)
            if request is None:
                return
            request.try_count += 1
            if request.try_count >= MAX_TRIES:
                audit.record(session, _actor(request), "token.request_given_up", request.email, purpose=request.purpose)
                tallies.note(session, TokenIssue(request.purpose, "given_up"))
                session.delete(request)
            else:
                pause_seconds = min(2**request.try_count, _LONGEST_PAUSE_SECONDS)
                request.due_at = database_now(timedelta(seconds=pause_seconds))


def _due() -> "Select[Any]":
    return select(TokenRequest).where(TokenRequest.due_at <= database_now()).order_by(TokenRequest.due_at).limit(1)


def _answer(session: Session, office: Office, request: TokenRequest) -> None:
    purpose, actor = Purpose(request.purpose), _actor(request)
    person = office.directory.find_email(session, request.email)
    reason = _find_refusal(purpose, person)
    if person is None or reason:
        audit.record(session, actor, "token.request_refused", request.email, purpose=purpose, reason=reason)
        tallies.note(session, TokenIssue(purpose, reason or "account_unknown"))
        return
    # To the address that the directory has, never to the one that a stranger wrote (T14).
    order = Order(
        purpose=purpose,
        subject=person.subject,
        client_id=PUBLIC_CLIENT_ID,
        locale=request.locale,
        variables=_tell_origin(office, purpose, request),
    )
    service.issue(session, office, order, actor)


def _tell_origin(office: Office, purpose: Purpose, request: TokenRequest) -> dict[str, str]:
    """When and from where somebody asked, for whoever did not; an address that is not public tells a reader nothing."""
    known = {"requested_at": clock.written(request.requested_at)}
    if request.ip and _is_public(request.ip):
        known["requested_from"] = request.ip
    taken = office.intake.catalog.get(RULES[purpose].template).variables_schema["properties"]
    return {name: value for name, value in known.items() if name in taken}


def _is_public(written: str) -> bool:
    try:
        return ip_address(written).is_global
    except ValueError:  # what a proxy says of whoever it does not know
        return False


def _find_refusal(purpose: Purpose, person: Person | None) -> str | None:
    if person is None:
        return "account_unknown"
    if person.is_disabled:
        return "account_disabled"
    if purpose is Purpose.EMAIL_VERIFICATION and person.email_verified:
        return "already_verified"
    return None


def _actor(request: TokenRequest | Wish) -> Actor:
    return Actor(name="public", ip=request.ip, request_id=request.request_id, trace_parent=request.trace_parent)
