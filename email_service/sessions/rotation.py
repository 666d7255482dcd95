"""Replace a refresh token by its child, and notice when one comes again. Flushes, never commits; knows no HTTP.

An answer may get lost on the way, so for half a minute a replaced token gets the same child again, unless that child
was seen. Any other token that was replaced is in the wrong hands, or its child is (RFC 9700 4.14.2).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Uuid, bindparam, select, update
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
    .returning(_TOKENS.c.id, _TOKENS.c.used_at)
)
_MOVE_ON = (
    update(_SESSIONS)
    .where(_SESSIONS.c.id == bindparam("family_id", type_=Uuid))
    .values(last_used_at=bindparam("now", type_=TZDateTime), idle_expires_at=bindparam("idle_until", type_=TZDateTime))
)


def refresh(session: Session, desk: Desk, presented: str, actor: Actor) -> Pair | BadRequestError:
    """The next tokens of the session, or the refusal that `granted` raises once what led to it is committed.

    Raises TokenInvalidError, TokenExpiredError or TokenUsedError itself when there is nothing to commit.
    """
    token_hash = crypto.hash_secret(presented)
    # The account, then its session, then the tokens of that: an erasure locks them in the same order.
    _check_account(session, desk, token_hash)
    family = _lock_live(session, token_hash)
    if taken := _take(session, token_hash):
        return _replace(session, desk, family, taken)
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


def _take(session: Session, token_hash: bytes) -> Any | None:
    """One conditional update: of any number at the same time, one gets the row (T26)."""
    return ask(session.connection(), _TAKE, {"presented": token_hash})


def _replace(session: Session, desk: Desk, family: Any, taken: Any) -> Pair:
    now: datetime = taken.used_at
    nonce = service.add_token(session, desk, family.id, taken.id, now)
    idle_until = now + timedelta(seconds=desk.lifetimes.idle_seconds)
    run(session.connection(), _MOVE_ON, {"family_id": family.id, "now": now, "idle_until": idle_until})
    return service.tell(desk, family, nonce, now)


def _find_unseen_child(session: Session, token_hash: bytes) -> Any | None:
    parent, child = aliased(RefreshToken), aliased(RefreshToken)
    return session.execute(
        select(child.nonce, database_now().label("now"))
        .join(parent, parent.id == child.parent_id)
        .where(parent.token_hash == token_hash, parent.used_at > database_now(-GRACE), child.used_at.is_(None))
    ).first()
