"""Replace a refresh token by its child, and notice when one comes again. Flushes, never commits; knows no HTTP.

An answer may get lost on the way, so for half a minute a replaced token gets the same child again, unless that child
was seen. Any other token that was replaced is in the wrong hands, or its child is (RFC 9700 4.14.2).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
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
from email_service.kernel.orm import database_now
from email_service.sessions import service
from email_service.sessions.models import RefreshToken, RevokeReason, UserSession
from email_service.sessions.service import Desk, Pair

GRACE = timedelta(seconds=30)

_ENDED = "The session has ended. Sign in again."


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
    subject = session.scalar(select(UserSession.subject).where(UserSession.id == service.session_of(token_hash)))
    if subject is None:
        raise TokenInvalidError
    try:
        service.check_account(session, desk, subject)
    except (AccountUnknownError, AccountDisabledError):
        # A stranger who holds a token learns nothing about the account.
        raise TokenInvalidError from None


def _lock_live(session: Session, token_hash: bytes) -> UserSession:
    """The session, of which nobody else decides anything before the transaction ends."""
    wanted = select(UserSession, service.is_live().label("is_live")).where(
        UserSession.id == service.session_of(token_hash)
    )
    found = session.execute(wanted.with_for_update(), execution_options={"populate_existing": True}).first()
    if found is None:
        raise TokenInvalidError  # erased just now
    family: UserSession = found[0]
    if family.revoked_at is not None:
        raise TokenUsedError(_ENDED)
    if not found.is_live:
        raise TokenExpiredError
    return family


def _take(session: Session, token_hash: bytes) -> Any | None:
    """One conditional update: of any number at the same time, one gets the row (T26)."""
    return session.execute(
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_(None))
        .values(used_at=database_now())
        .returning(RefreshToken.id, RefreshToken.used_at),
        execution_options={"synchronize_session": False},
    ).first()


def _replace(session: Session, desk: Desk, family: UserSession, taken: Any) -> Pair:
    now: datetime = taken.used_at
    nonce = service.add_token(session, desk, family, taken.id, now)
    family.last_used_at = now
    family.idle_expires_at = now + timedelta(seconds=desk.lifetimes.idle_seconds)
    session.flush()
    return service.tell(desk, family, nonce, now)


def _find_unseen_child(session: Session, token_hash: bytes) -> Any | None:
    parent, child = aliased(RefreshToken), aliased(RefreshToken)
    return session.execute(
        select(child.nonce, database_now().label("now"))
        .join(parent, parent.id == child.parent_id)
        .where(parent.token_hash == token_hash, parent.used_at > database_now(-GRACE), child.used_at.is_(None))
    ).first()
