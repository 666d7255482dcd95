"""Replace a refresh token by its child, and notice when one comes again. Flushes, never commits; knows no HTTP.

An answer may get lost on the way, so for half a minute a replaced token gets the same child again, unless that child
was seen. Any other token that was replaced is in the wrong hands, or its child is (RFC 9700 4.14.2).
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import BindParameter, Float, Select, Uuid, bindparam, func, insert, select, update
from sqlalchemy.orm import Session, aliased

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
_SESSIONS, _TOKENS = table_of(UserSession), table_of(RefreshToken)
# Refreshing is what happens most to a session, so its statements are built once and touch no object.
_PRESENTED: BindParameter[bytes] = bindparam("presented")
_IS_MEANT = UserSession.id == service.session_of(_PRESENTED)
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


def _build_replacement() -> Select[Any]:
    """Taking the token, adding its child and moving the session on, where the database does all three at once."""
    taken = _TAKE.cte("taken")
    given = [bindparam(f"child_{name}", type_=_TOKENS.c[name].type) for name in ("id", "nonce", "token_hash")]
    child = select(*given, taken.c.session_id, taken.c.id, taken.c.used_at)
    names = ["id", "nonce", "token_hash", "session_id", "parent_id", "issued_at"]
    idle = func.make_interval(0, 0, 0, 0, 0, 0, bindparam("idle_seconds", type_=Float))
    moved = (
        update(_SESSIONS)
        .where(_SESSIONS.c.id == taken.c.session_id)
        .values(last_used_at=taken.c.used_at, idle_expires_at=taken.c.used_at + idle)
    )
    replacement = select(taken.c.used_at)
    return replacement.add_cte(insert(_TOKENS).from_select(names, child).cte("child"), moved.cte("moved"))


_REPLACE = _build_replacement()


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
    connection, child = session.connection(), service.make_token(desk)
    idle_seconds = desk.lifetimes.idle_seconds
    if connection.dialect.name == "postgresql":
        given = {f"child_{name}": value for name, value in child.items()}
        taken = ask(connection, _REPLACE, {"presented": token_hash, "idle_seconds": idle_seconds, **given})
    else:
        taken = ask(connection, _TAKE, {"presented": token_hash})
        if taken is not None:
            service.add_token(session, child, family.id, taken.used_at, taken.id)
            idle_until = taken.used_at + timedelta(seconds=idle_seconds)
            run(connection, _MOVE_ON, {"family_id": family.id, "now": taken.used_at, "idle_until": idle_until})
    return service.tell(desk, family, child["nonce"], taken.used_at) if taken else None


def _find_unseen_child(session: Session, token_hash: bytes) -> Any | None:
    parent, child = aliased(RefreshToken), aliased(RefreshToken)
    return session.execute(
        select(child.nonce, database_now().label("now"))
        .join(parent, parent.id == child.parent_id)
        .where(parent.token_hash == token_hash, parent.used_at > database_now(-GRACE), child.used_at.is_(None))
    ).first()
