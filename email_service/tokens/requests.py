"""What somebody asked for publicly: written down with no look at who exists, and answered by a worker.

So a request costs and tells the same whether the address belongs to somebody or not (T11, T12). Knows no HTTP.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Select, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from email_service.accounts.directory import Person
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.clients.models import PUBLIC_CLIENT_ID
from email_service.kernel import clock
from email_service.kernel.lanes import LANES
from email_service.kernel.orm import database_now, wake_after_commit
from email_service.tokens import service
from email_service.tokens.models import TokenRequest
from email_service.tokens.purposes import Purpose
from email_service.tokens.service import Office, Order

LANE = LANES[0]  # whose workers answer, for that is where the mail goes
MAX_TRIES = 8
_LONGEST_PAUSE_SECONDS = 300

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a stranger asked for, and from where."""

    purpose: Purpose
    email: str
    locale: str | None
    ip: str | None
    request_id: str


def record(session: Session, wish: Wish) -> None:
    """Write the request down: one row, whoever the address belongs to."""
    now = clock.now()
    session.add(
        TokenRequest(
            purpose=wish.purpose,
            email=wish.email,
            locale=wish.locale,
            ip=wish.ip,
            request_id=wish.request_id,
            requested_at=now,
            due_at=database_now(),
            try_count=0,
        )
    )
    wake_after_commit(session, LANE)


def note_limited(session: Session, wish: Wish) -> None:
    """Write down that there were too many requests for this address, and nothing else."""
    audit.record(session, _actor(wish), "token.request_limited", wish.email, purpose=wish.purpose)


@dataclass(frozen=True, slots=True)
class Requests:
    """The drain that answers what is due, each request in a transaction of its own."""

    sessions: sessionmaker[Session]
    glances: sessionmaker[Session]
    office: Office

    def drain(self) -> int:
        """Answer until nothing is due; how many requests that was."""
        count = 0
        # A mere look must not keep SQLite's writers waiting.
        with self.glances() as session:
            is_due = session.scalar(_due().with_only_columns(TokenRequest.id)) is not None
        while is_due and self._answer_next():
            count += 1
        return count

    def _answer_next(self) -> bool:
        request_id = None
        try:
            with self.sessions.begin() as session:
                request = _take(session)
                if request is None:
                    return False
                request_id = request.id
                _answer(session, self.office, request)
                session.delete(request)
        except (OperationalError, InterfaceError, PoolTimeoutError):
            raise  # the database is away, and with it everything that is due
        except Exception:  # noqa: BLE001 - the guard of the queue: one request must not stop those behind it
            _log.exception("token_request.failed", id=str(request_id))
            self._put_off(request_id)
        return True

    def _put_off(self, request_id: object) -> None:
        with self.sessions.begin() as session:
            request = session.get(TokenRequest, request_id, with_for_update=True)
            if request is None:
                return
            request.try_count += 1
            if request.try_count >= MAX_TRIES:
                audit.record(session, _actor(request), "token.request_given_up", request.email, purpose=request.purpose)
                session.delete(request)
            else:
                pause_seconds = min(2**request.try_count, _LONGEST_PAUSE_SECONDS)
                request.due_at = database_now(timedelta(seconds=pause_seconds))


def _take(session: Session) -> TokenRequest | None:
    """The request that is due longest, locked; those that others answer are passed over."""
    request: TokenRequest | None = session.scalar(_due().with_for_update(skip_locked=True))
    return request


def _due() -> "Select[Any]":
    return select(TokenRequest).where(TokenRequest.due_at <= database_now()).order_by(TokenRequest.due_at).limit(1)


def _answer(session: Session, office: Office, request: TokenRequest) -> None:
    purpose, actor = Purpose(request.purpose), _actor(request)
    person = office.directory.find_email(session, request.email)
    reason = _find_refusal(purpose, person)
    if person is None or reason:
        audit.record(session, actor, "token.request_refused", request.email, purpose=purpose, reason=reason)
        return
    # To the address that the directory has, never to the one that a stranger wrote (T14).
    order = Order(purpose=purpose, subject=person.subject, client_id=PUBLIC_CLIENT_ID, locale=request.locale)
    service.issue(session, office, order, actor)


def _find_refusal(purpose: Purpose, person: Person | None) -> str | None:
    if person is None:
        return "account_unknown"
    if person.is_disabled:
        return "account_disabled"
    if purpose is Purpose.EMAIL_VERIFICATION and person.email_verified:
        return "already_verified"
    return None


def _actor(request: TokenRequest | Wish) -> Actor:
    return Actor(name="public", ip=request.ip, request_id=request.request_id)
