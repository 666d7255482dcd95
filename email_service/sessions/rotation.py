"""Replace a refresh token by its child, and notice when one comes again. Flushes, never commits; knows no HTTP.

An answer may get lost on the way, so for half a minute a replaced token gets the same child again, unless that child
was seen. Any other token that was replaced is in the wrong hands, or its child is (RFC 9700 4.14.2).
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, Float, Select, Uuid, and_, bindparam, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from email_service.accounts.models import Account
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel import crypto
from email_service.kernel.errors import (
    AccountDisabledError,
    AccountUnknownError,
    BadRequestError,
    TokenExpiredError,
    TokenInvalidError,
    TokenUsedError,
)
from email_service.kernel.orm import TZDateTime, database_now, table_of
from email_service.kernel.rows import ask, run
from email_service.sessions import service
from email_service.sessions.models import RefreshToken, RevokeReason, UserSession
from email_service.sessions.service import Desk, Pair

GRACE = timedelta(seconds=30)

_ENDED = "The session has ended. Sign in again."
_ACCOUNTS, _SESSIONS, _TOKENS = table_of(Account), table_of(UserSession), table_of(RefreshToken)
# Refreshing is what happens most to a session, so its statements are built once and touch no object.
_PRESENTED: BindParameter[bytes] = bindparam("presented")
_IS_MEANT = _SESSIONS.c.id == service.session_of(_PRESENTED)
_SUBJECT = select(UserSession.subject).where(_IS_MEANT)
_FAMILY = (
    select(
        UserSession.id,
        UserSession.subject,
        UserSession.claims,
        UserSession.expires_at,
        UserSession.revoked_at,
        service.is_live().label("is_live"),
    )
    .where(_IS_MEANT)
    .with_for_update()
)
_TAKE = (
    update(_TOKENS)
    .where(_TOKENS.c.token_hash == _PRESENTED, _TOKENS.c.used_at.is_(None))
    .values(used_at=database_now())
    .returning(_TOKENS.c.id, _TOKENS.c.session_id, _TOKENS.c.used_at)
)
_MOVE_ON = (
    update(_SESSIONS)
    .where(_SESSIONS.c.id == bindparam("family_id", type_=Uuid))
    .values(last_used_at=bindparam("now", type_=TZDateTime), idle_expires_at=bindparam("idle_until", type_=TZDateTime))
)


def refresh_at_once(connection: Connection, desk: Desk, presented: str) -> Pair | None:
    """What `refresh` comes to when nothing stands in the way, in one statement; None, and nothing done, otherwise.

    It needs no transaction. Only PostgreSQL can say it.
    """
    if connection.dialect.name != "postgresql":
        return None
    child = service.make_token(desk)
    values = {
        "presented": crypto.hash_secret(presented),
        "idle_seconds": desk.lifetimes.idle_seconds,
        **{f"child_{name}": value for name, value in child.items()},
    }
    family = ask(connection, _AT_ONCE[desk.directory is not None], values)
    return service.tell(desk, family, child["nonce"], family.used_at) if family else None


def _build_at_once(*, has_accounts: bool) -> Select[Any]:
    """Lock the account, then its session, then take the token; add its child and move the session on."""
    named = select(_SESSIONS.c.id, _SESSIONS.c.subject).where(_IS_MEANT).cte("named")
    meant = _SESSIONS.c.id == named.c.id
    if has_accounts:
        wanted = (_ACCOUNTS.c.subject == named.c.subject, _ACCOUNTS.c.is_disabled.is_(False))
        account = select(_ACCOUNTS.c.subject).where(*wanted).with_for_update(read=True, of=_ACCOUNTS).cte("account")
        meant = and_(meant, _SESSIONS.c.subject == account.c.subject)
    told = (_SESSIONS.c.id, _SESSIONS.c.subject, _SESSIONS.c.claims, _SESSIONS.c.expires_at)
    family = select(*told).where(meant, service.is_live()).with_for_update(of=_SESSIONS).cte("family")
    # Under the lock of the family, and not before it: whoever waited for that sees what became of the token.
    taken = _TAKE.where(_TOKENS.c.session_id == family.c.id).cte("taken")
    given = [bindparam(f"child_{name}", type_=_TOKENS.c[name].type) for name in ("id", "nonce", "token_hash")]
    child = select(*given, taken.c.session_id, taken.c.id, taken.c.used_at)
    names = ["id", "nonce", "token_hash", "session_id", "parent_id", "issued_at"]
    idle = func.make_interval(0, 0, 0, 0, 0, 0, bindparam("idle_seconds", type_=Float))
    moved = (
        update(_SESSIONS)
        .where(_SESSIONS.c.id == taken.c.session_id)
        .values(last_used_at=taken.c.used_at, idle_expires_at=taken.c.used_at + idle)
    )
    found = select(family, taken.c.used_at).where(family.c.id == taken.c.session_id)
    return found.add_cte(insert(_TOKENS).from_select(names, child).cte("child"), moved.cte("moved"))


_AT_ONCE = {has_accounts: _build_at_once(has_accounts=has_accounts) for has_accounts in (True, False)}


def refresh(session: Session, desk: Desk, presented: str, actor: Actor) -> Pair | BadRequestError:
    """The next tokens of the session, or the refusal that `granted` raises once what led to it is committed.

    Raises TokenInvalidError, TokenExpiredError or TokenUsedError itself when there is nothing to commit.
    """
    token_hash = crypto.hash_secret(presented)
    # The account, then its session, then the tokens of that: an erasure locks them in the same order.
    _check_account(session, desk, token_hash)
    family = _lock_live(session, token_hash)
    if pair := _replace(session, desk, family, token_hash):
        return pair
    if child := _find_unseen_child(session, token_hash):
        return service.tell(desk, family, child.nonce, child.now)
    service.end(session, UserSession.id == family.id, RevokeReason.REUSE)
    audit.record(session, actor, "session.reused", family.subject, id=str(family.id))
    return TokenUsedError(_ENDED)


def granted(outcome: Pair | BadRequestError) -> Pair:
    """What `refresh` came to, for after the commit: its tokens, or its refusal raised."""
    if isinstance(outcome, BadRequestError):
        raise outcome
    return outcome


def _check_account(session: Session, desk: Desk, token_hash: bytes) -> None:
    found = ask(session.connection(), _SUBJECT, {"presented": token_hash})
    if found is None:
        raise TokenInvalidError
    try:
        service.check_account(session, desk, found.subject)
    except (AccountUnknownError, AccountDisabledError):
        # A stranger who holds a token learns nothing about the account.
        raise TokenInvalidError from None


def _lock_live(session: Session, token_hash: bytes) -> Any:
    """The row of the session, of which nobody else decides anything before the transaction ends."""
    family = ask(session.connection(), _FAMILY, {"presented": token_hash})
    if family is None:
        raise TokenInvalidError  # erased just now
    if family.revoked_at is not None:
        raise TokenUsedError(_ENDED)
    if not family.is_live:
        raise TokenExpiredError
    return family


def _replace(session: Session, desk: Desk, family: Any, token_hash: bytes) -> Pair | None:
    """The next pair, when the token was still to be used: of any number at the same time, one gets it (T26)."""
    taken = ask(session.connection(), _TAKE, {"presented": token_hash})
    if taken is None:
        return None
    child = service.make_token(desk)
    service.add_token(session, child, family.id, taken.used_at, taken.id)
    idle_until = taken.used_at + timedelta(seconds=desk.lifetimes.idle_seconds)
    run(session.connection(), _MOVE_ON, {"family_id": family.id, "now": taken.used_at, "idle_until": idle_until})
    return service.tell(desk, family, child["nonce"], taken.used_at)


def _find_unseen_child(session: Session, token_hash: bytes) -> Any | None:
    parent, child = aliased(RefreshToken), aliased(RefreshToken)
    return session.execute(
        select(child.nonce, database_now().label("now"))
        .join(parent, parent.id == child.parent_id)
        .where(parent.token_hash == token_hash, parent.used_at > database_now(-GRACE), child.used_at.is_(None))
    ).first()
