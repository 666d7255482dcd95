"""Start sessions, list them and end them. Flushes, never commits; knows no HTTP.

What is written here opens nothing: a refresh token is made from its nonce whenever somebody is told it, and an access
token is only told. Refreshing is `rotation`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Select, and_, delete, select, update
from sqlalchemy.orm import Session

from email_service.accounts.directory import Directory
from email_service.accounts.models import Account
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel import crypto
from email_service.kernel.derivation import Deriver
from email_service.kernel.errors import AccountDisabledError, AccountUnknownError, InvalidInputError
from email_service.kernel.orm import database_now, new_id, table_of
from email_service.kernel.pages import Page, no_cursor, read_cursor, write_cursor
from email_service.kernel.rows import insert_together
from email_service.sessions.models import USER_AGENT_LENGTH, RefreshToken, RevokeReason, UserSession
from email_service.signing.service import Signer

PAGE = 50
TOKEN_KIND = "at+jwt"  # noqa: S105 - the type (RFC 8725 3.11) that tells an access token from what else is signed

_UNSYNCHRONISED = {"synchronize_session": False}
_OURS = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid")  # claims that only this service can know


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """What an operator chose."""

    access_seconds: int  # of an access token
    idle_seconds: int  # of a session that nobody refreshes
    session_seconds: int  # of a session, however often it is refreshed


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What sessions need besides the database. Its signer has to be prepared before a transaction begins."""

    signer: Signer
    deriver: Deriver
    directory: Directory | None  # None: nobody here knows who exists, and callers are believed
    audience: str
    lifetimes: Lifetimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One session as it was asked for."""

    subject: str
    client_id: UUID
    claims: Mapping[str, Any] = field(default_factory=dict)  # of its access tokens, beside those that only we can know
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the holder of a session is told; never kept."""

    session_id: UUID
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds that the access token lives


def start(session: Session, desk: Desk, order: Order, actor: Actor) -> Pair:
    """A new session with its first tokens.

    Raises AccountUnknownError or AccountDisabledError as `check_account` does, and InvalidInputError for claims that
    only this service can know.
    """
    for name in _OURS:
        if name in order.claims:
            raise InvalidInputError.at(f"/claims/{name}", "The service makes this claim itself; leave it out.")
    check_account(session, desk, order.subject)
    now: datetime = session.execute(select(database_now())).scalar_one()
    family = _build(desk.lifetimes, order, now)
    session.add(family)
    session.flush()
    token = make_token(desk)
    add_token(session, token, family.id, now)
    audit.record(session, actor, "session.started", order.subject, id=str(family.id))
    session.flush()
    return tell(desk, family, token["nonce"], now)


def check_account(session: Session, desk: Desk, subject: str) -> None:
    """AccountUnknownError or AccountDisabledError, where it is known who exists, unless the subject may sign in."""
    if desk.directory is None:
        return
    person = desk.directory.find_subject(session, subject)
    if person is None:
        raise AccountUnknownError("No account has this subject; tell the service of it (`PUT /v1/accounts/{subject}`).")
    if person.is_disabled:
        raise AccountDisabledError


def make_token(desk: Desk) -> dict[str, Any]:
    """A new refresh token as far as it does not depend on its session: what `add_token` writes."""
    nonce = desk.deriver.new_nonce()
    return {"id": new_id(), "nonce": nonce, "token_hash": crypto.hash_secret(desk.deriver.token(nonce))}


def add_token(
    session: Session, made: dict[str, Any], family_id: UUID, now: datetime, parent_id: UUID | None = None
) -> None:
    """Write a refresh token of the session with this id, which is written already."""
    row = {**made, "session_id": family_id, "parent_id": parent_id, "issued_at": now}
    insert_together(session.connection(), [(table_of(RefreshToken), row)])


def tell(desk: Desk, family: Any, nonce: bytes, now: datetime) -> Pair:
    """The refresh token of this nonce, and a new access token that does not outlive the session.

    `family` is the session, or a row with its id, its subject, its claims and its end.
    """
    rest_seconds = int((family.expires_at - now).total_seconds())
    expires_in, issued_at = max(1, min(desk.lifetimes.access_seconds, rest_seconds)), int(now.timestamp())
    claims = {
        **family.claims,
        "sub": family.subject,
        "aud": desk.audience,
        "iat": issued_at,
        "exp": issued_at + expires_in,
        "jti": str(new_id()),
        "sid": str(family.id),
    }
    return Pair(
        session_id=family.id,
        access_token=desk.signer.sign(claims, TOKEN_KIND),
        refresh_token=desk.deriver.token(nonce),
        expires_in=expires_in,
    )


def is_live() -> ColumnElement[bool]:
    """What holds of a session that can be refreshed."""
    sessions = table_of(UserSession).c
    return and_(
        sessions.revoked_at.is_(None),
        sessions.expires_at > database_now(),
        sessions.idle_expires_at > database_now(),
    )


def find(session: Session, subject: str, limit: int = PAGE, cursor: str | None = None) -> Page:
    """A page of the subject's live sessions, the latest first."""
    statement: Select[UserSession] = select(UserSession).where(UserSession.subject == subject, is_live())
    if cursor is not None:
        statement = statement.where(UserSession.id < _read_place(cursor))
    rows = session.scalars(statement.order_by(UserSession.id.desc()).limit(limit + 1)).all()
    return Page(rows[:limit], write_cursor(rows[limit - 1].id.bytes) if len(rows) > limit else None)


def revoke(session: Session, presented: str, actor: Actor) -> None:
    """End the session that this refresh token is of, even if it was replaced; nothing else tells of it (RFC 7009)."""
    ended = end(session, UserSession.id == session_of(crypto.hash_secret(presented)), RevokeReason.SIGNED_OUT)
    for session_id, subject in ended:
        audit.record(session, actor, "session.revoked", subject, id=str(session_id), reason=RevokeReason.SIGNED_OUT)


def revoke_all(session: Session, subject: str, actor: Actor) -> int:
    """Sign the subject out everywhere; how many live sessions there were."""
    count = len(end(session, UserSession.subject == subject, RevokeReason.REVOKED))
    if count:
        audit.record(session, actor, "session.revoked", subject, count=count, reason=RevokeReason.REVOKED)
    return count


def erase(session: Session, account: Account) -> int:
    """Forget that this account ever had a session; how many there were."""
    erased = delete(UserSession).where(UserSession.subject == account.subject).returning(UserSession.id)
    return len(session.execute(erased, execution_options=_UNSYNCHRONISED).all())


def end(session: Session, wanted: ColumnElement[bool], reason: RevokeReason) -> Sequence[Any]:
    """Let the live ones of these sessions never be refreshed again; the id and the subject of each."""
    return session.execute(
        update(UserSession)
        .where(wanted, is_live())
        .values(revoked_at=database_now(), revoke_reason=reason)
        .returning(UserSession.id, UserSession.subject),
        execution_options=_UNSYNCHRONISED,
    ).all()


def session_of(token_hash: bytes | BindParameter[bytes]) -> Any:
    """The id of the session that a refresh token belongs to, for a statement that asks more."""
    tokens = table_of(RefreshToken).c
    return select(tokens.session_id).where(tokens.token_hash == token_hash).scalar_subquery()


def _build(lifetimes: Lifetimes, order: Order, now: datetime) -> UserSession:
    return UserSession(
        id=new_id(),
        subject=order.subject,
        client_id=order.client_id,
        claims=dict(order.claims),
        ip=order.ip,
        user_agent=_shortened(order.user_agent),
        created_at=now,
        last_used_at=now,
        idle_expires_at=now + timedelta(seconds=lifetimes.idle_seconds),
        expires_at=now + timedelta(seconds=lifetimes.session_seconds),
    )


def _shortened(user_agent: str | None) -> str | None:
    # A browser may call itself anything; that must neither fail a sign-in nor break a line where it is shown.
    if user_agent is None:
        return None
    return "".join(each if each.isprintable() else " " for each in user_agent[:USER_AGENT_LENGTH])


def _read_place(cursor: str) -> UUID:
    try:
        return UUID(bytes=read_cursor(cursor))
    except ValueError:
        raise no_cursor() from None
