"""Look at a token, and redeem it exactly once. Flushes, never commits; knows no HTTP and issues nothing.

A code is short, so every guess at one is counted, and committed, before it is compared (T4): `count_guess`, `weigh` and
`redeem` are three steps of one redemption, and a token passes through them too.
"""

import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, false, select, update
from sqlalchemy.orm import Session, sessionmaker

from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel import crypto
from email_service.kernel.addresses import address_key
from email_service.kernel.derivation import Deriver
from email_service.kernel.errors import SealBrokenError, TokenExpiredError, TokenInvalidError, TokenUsedError
from email_service.kernel.orm import database_now
from email_service.kernel.rows import insert_together
from email_service.tokens import notices
from email_service.tokens.models import Token
from email_service.tokens.purposes import Purpose
from email_service.tokens.service import Office, is_live

MAX_CODE_TRIES = 5
REPEATABLE_FOR = timedelta(minutes=10)

_UNSYNCHRONISED = {"synchronize_session": False}
_TOLD = (
    Token.id,
    Token.purpose,
    Token.subject,
    Token.email,
    Token.context,
    Token.client_id,
    Token.issued_at,
    Token.expires_at,
)
_WRONG_CODE = "The code is wrong, has expired, was used or was tried too often. Ask for a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What somebody shows: a token, or a code with the address that it was mailed to."""

    purpose: Purpose
    token: str | None = None
    email: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """One counted guess at a live code: what to compare it with."""

    token_id: UUID
    nonce: bytes
    code_hash: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was shown, after a code was compared."""

    presented: Presented
    token_id: UUID | None = None  # whose code it is; None: nobody's, or a token was presented

    def identifies(self) -> ColumnElement[bool]:
        """What holds of the one token that is meant."""
        if self.presented.token is not None:
            return Token.token_hash == crypto.hash_secret(self.presented.token)
        return Token.id == self.token_id if self.token_id else false()


def find(session: Session, presented: Presented) -> Any:
    """The row of a token that could be redeemed now; TokenInvalidError, TokenExpiredError or TokenUsedError else."""
    return _judge(_look(session, Evidence(presented)))


def count_guess(session: Session, presented: Presented) -> Guess | None:
    """Count this guess at the live code of the address; None when there is no such code, or a token is presented."""
    if presented.email is None:
        return None
    could_be_meant = (
        Token.email_key == address_key(presented.email),
        Token.purpose == presented.purpose,
        is_live(),
        Token.code_hash.is_not(None),
        Token.expires_at > database_now(),
    )
    # Several subjects may have been mailed at one address. The newest mail is meant, and no older one adds its tries.
    newest = select(Token.id).where(*could_be_meant).order_by(Token.id.desc()).limit(1).scalar_subquery()
    row = session.execute(
        update(Token)
        .where(Token.id == newest, *could_be_meant, Token.code_try_count < MAX_CODE_TRIES)
        .values(code_try_count=Token.code_try_count + 1)
        .returning(Token.id, Token.nonce, Token.code_hash),
        execution_options=_UNSYNCHRONISED,
    ).first()
    return Guess(row.id, row.nonce, row.code_hash or b"") if row else None


def weigh(deriver: Deriver, presented: Presented, guess: Guess | None) -> Evidence:
    """Whose code it is. Takes as long for an address without one, and needs no database."""
    if presented.code is None:
        return Evidence(presented)
    nonce, expected = (guess.nonce, guess.code_hash) if guess else (deriver.new_nonce(), b"")
    try:
        is_right = hmac.compare_digest(deriver.hash_code(nonce, presented.code), expected)
    except SealBrokenError:
        is_right = False
    return Evidence(presented, guess.token_id if guess and is_right else None)


def consult(glances: sessionmaker[Session], office: Office, evidence: Evidence) -> Office:
    """The office to redeem in, asked for whomever a notice may go to. UnavailableError; no transaction is open."""
    with glances() as session:
        subject = _find_reader(session, evidence)
    return office.ask(subject=subject)


def redeem(session: Session, office: Office, evidence: Evidence, actor: Actor, repeat_key: str | None = None) -> Any:
    """The row of the token, which from now on nobody can redeem; raises what `find` raises.

    Whoever has to hear of it gets a notice in the same transaction; the office is what `consult` made of it. Who
    redeemed it under the same `repeat_key` within the last ten minutes gets the same row again, so that an answer that
    was lost on the way burns no link.
    """
    key_hash = crypto.hash_secret(repeat_key) if repeat_key else None
    # Before the token: whoever changes an account locks it first and its tokens afterwards.
    subject = _find_reader(session, evidence)
    reader = office.directory.find_subject(session, subject) if subject else None
    if row := _take(session, evidence, key_hash):
        fact = audit.row(actor, "token.consumed", row.subject, purpose=row.purpose, id=str(row.id))
        insert_together(session.connection(), [fact])
        if reader is not None:
            notices.tell_of_new_address(session, office.intake, reader, row, actor)
        return row
    if evidence.presented.token is None:
        raise TokenInvalidError(_WRONG_CODE)
    found = _look(session, evidence)
    if found is not None and found.is_repeatable and key_hash is not None and found.consumed_by == key_hash:
        return found
    _judge(found)
    raise TokenUsedError  # somebody was faster, between the two statements


def _find_reader(session: Session, evidence: Evidence) -> str | None:
    """Whom a notice may go to when this token is redeemed; most tokens are asked nothing."""
    if evidence.presented.purpose not in notices.PURPOSES:
        return None
    could_be_redeemed = (evidence.identifies(), Token.purpose == evidence.presented.purpose, is_live())
    subject: str | None = session.scalar(select(Token.subject).where(*could_be_redeemed))
    return subject


def _take(session: Session, evidence: Evidence, key_hash: bytes | None) -> Any | None:
    """One conditional update: of any number at the same time, one gets the row (T6)."""
    return session.execute(
        update(Token)
        .where(
            evidence.identifies(),
            Token.purpose == evidence.presented.purpose,
            is_live(),
            Token.expires_at > database_now(),
        )
        .values(consumed_at=database_now(), consumed_by=key_hash)
        .returning(*_TOLD),
        execution_options=_UNSYNCHRONISED,
    ).first()


def _look(session: Session, evidence: Evidence) -> Any | None:
    is_over = (Token.expires_at <= database_now()).label("is_over")
    is_repeatable = (Token.consumed_at > database_now(-REPEATABLE_FOR)).label("is_repeatable")
    return session.execute(
        select(*_TOLD, Token.consumed_at, Token.consumed_by, Token.revoked_at, is_over, is_repeatable).where(
            evidence.identifies(), Token.purpose == evidence.presented.purpose
        )
    ).first()


def _judge(row: Any | None) -> Any:
    if row is None:
        raise TokenInvalidError
    if row.consumed_at is not None or row.revoked_at is not None:
        raise TokenUsedError
    if row.is_over:
        raise TokenExpiredError
    return row
