"""Look at a token, and redeem it exactly once. Never commits; knows no HTTP and issues nothing.

A code is short, so every guess at one is counted, and committed, before it is compared (T4): `count_guess`, `weigh` and
`redeem` are three steps of one redemption, and a token passes through them too.
"""

import hmac
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, LargeBinary, Select, String, Table, Uuid, bindparam, select, update
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql.dml import ReturningUpdate

from email_service.accounts import service as accounts
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.clients import service as clients
from email_service.kernel import clock, crypto, tallies
from email_service.kernel.addresses import address_key
from email_service.kernel.derivation import Deriver
from email_service.kernel.errors import SealBrokenError, TokenExpiredError, TokenInvalidError, TokenUsedError
from email_service.kernel.orm import TZDateTime, database_now, table_of
from email_service.kernel.rows import ask, insert_together
from email_service.kernel.tallies import TokenRedemption
from email_service.tokens import notices
from email_service.tokens.models import Token
from email_service.tokens.purposes import Purpose
from email_service.tokens.service import Office, is_live

MAX_CODE_TRIES = 5
REPEATABLE_FOR = timedelta(minutes=10)

# Redeeming one of these means more than its token: somebody hears of it, or an account's address is proven.
FOLLOWED = notices.PURPOSES | {Purpose.EMAIL_VERIFICATION}

_WRONG_CODE = "The code is wrong, has expired, was used or was tried too often. Ask for a new one."
_CONSUMED, _GUESSED = "token.consumed", "token.guessed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What somebody shows: a token, or a code with the address that it was mailed to."""

    purpose: Purpose
    token: str | None = field(default=None, repr=False)
    email: str | None = None
    code: str | None = field(default=None, repr=False)


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
    key_id: UUID | None = None  # the API key that has to be live; None: whoever presents it needs none

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the statements about the one token that is meant."""
        token = self.presented.token
        identity = self.token_id if token is None else crypto.hash_secret(token)
        return {
            "identity": identity,
            "wanted_purpose": self.presented.purpose,
            "with_key": self.key_id,
            "live_at": clock.now(),
        }

    @property
    def statements(self) -> "_Statements":
        """The statements about it."""
        return _BY_ID if self.presented.token is None else _BY_HASH


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A token that was redeemed: now, or a moment ago by the same request."""

    row: Any
    is_repeated: bool = False

    @property
    def tally(self) -> TokenRedemption:
        """What is counted of it once it is committed."""
        return TokenRedemption(self.row.purpose, "repeated" if self.is_repeated else "redeemed")


def find(connection: Connection, presented: Presented, key_id: UUID | None = None) -> Any:
    """The row of a token that could be redeemed now; TokenInvalidError, TokenExpiredError or TokenUsedError else.

    With an API key that is not live there is no token.
    """
    return _judge(_look(connection, Evidence(presented, key_id=key_id)))


def count_guess(connection: Connection, presented: Presented, actor: Actor) -> Guess | None:
    """Count this guess at the live code of the address; None when there is no such code.

    Something is written either way, so that committing tells nobody whether there is one (T12).
    """
    email = presented.email or ""
    values = {"wanted_key": address_key(email), "wanted_purpose": presented.purpose}
    if connection.dialect.name == "postgresql":
        noted = {"guessed_at": email, "guessed_purpose": presented.purpose}
        row = ask(connection, _COUNT_AND_NOTE, {**values, **noted, **audit.told_by(actor)})
    else:
        row = ask(connection, _COUNT_GUESS, values)
        insert_together(connection, [audit.row(actor, _GUESSED, email, purpose=presented.purpose)])
    return Guess(row.id, row.nonce, row.code_hash or b"") if row else None


def weigh(deriver: Deriver, presented: Presented, guess: Guess | None, key_id: UUID | None = None) -> Evidence:
    """Whose code it is. Takes as long for an address without one, and needs no database."""
    if presented.code is None:
        return Evidence(presented, key_id=key_id)
    nonce, expected = (guess.nonce, guess.code_hash) if guess else (deriver.new_nonce(), b"")
    try:
        is_right = hmac.compare_digest(deriver.hash_code(nonce, presented.code), expected)
    except SealBrokenError:
        is_right = False
    return Evidence(presented, guess.token_id if guess and is_right else None, key_id)


def consult(glances: sessionmaker[Session], office: Office, evidence: Evidence) -> Office:
    """The office to redeem in, asked for whomever a notice may go to. UnavailableError; no transaction is open."""
    with glances() as session:
        subject = _find_reader(session, evidence)
    return office.ask(subject=subject)


def redeem(connection: Connection, evidence: Evidence, actor: Actor, repeat_key: str | None = None) -> Redeemed:
    """Redeem the token, which from now on nobody else can; raises what `find` raises.

    Who redeemed it under the same `repeat_key` within the last ten minutes gets the same row again, so that an answer
    that was lost on the way burns no link. What writes is one statement on PostgreSQL, which needs no transaction.
    """
    key_hash = crypto.hash_secret(repeat_key) if repeat_key else None
    if row := _take(connection, evidence, actor, key_hash):
        return Redeemed(row)
    if evidence.presented.token is None:
        raise TokenInvalidError(_WRONG_CODE)
    found = _look(connection, evidence)
    if found is not None and found.is_repeatable and key_hash is not None and found.consumed_by == key_hash:
        return Redeemed(found, is_repeated=True)
    _judge(found)
    raise TokenUsedError  # somebody was faster, between the two statements


def redeem_and_tell(
    session: Session, office: Office, evidence: Evidence, actor: Actor, repeat_key: str | None = None
) -> Redeemed:
    """The same; in the same transaction whoever has to hear of it gets a notice, and the account a proven address.

    `consult` made the office. A token that cannot be redeemed after all raises, which undoes what was noted before it.
    """
    # Before the token: whoever changes an account locks it first and its tokens afterwards.
    if evidence.presented.purpose is Purpose.EMAIL_VERIFICATION and (token := _find_redeemable(session, evidence)):
        accounts.confirm_address(session, token.subject, token.email, actor)
    subject = _find_reader(session, evidence)
    reader = office.directory.find_subject(session, subject) if subject else None
    redeemed = redeem(session.connection(), evidence, actor, repeat_key)
    tallies.note(session, redeemed.tally)
    if reader is not None and not redeemed.is_repeated:
        notices.tell_of_new_address(session, office.intake, reader, redeemed.row, actor)
    return redeemed


def _find_reader(session: Session, evidence: Evidence) -> str | None:
    """Whom a notice may go to when this token is redeemed; most tokens are asked nothing."""
    if evidence.presented.purpose not in notices.PURPOSES:
        return None
    found = _find_redeemable(session, evidence)
    return None if found is None else found.subject


def _find_redeemable(session: Session, evidence: Evidence) -> Any | None:
    found = _look(session.connection(), evidence)
    is_redeemable = found is not None and found.consumed_at is None and found.revoked_at is None
    return found if is_redeemable else None


def _take(connection: Connection, evidence: Evidence, actor: Actor, key_hash: bytes | None) -> Any | None:
    """One conditional update: of any number at the same time, one gets the row (T6)."""
    values = {**evidence.values, "redeemer": key_hash}
    if connection.dialect.name == "postgresql":
        return ask(connection, evidence.statements.take_and_note, {**values, **audit.told_by(actor)})
    row = ask(connection, evidence.statements.take, values)
    if row is not None:
        insert_together(connection, [audit.row(actor, _CONSUMED, row.subject, purpose=row.purpose, id=str(row.id))])
    return row


def find_subject(connection: Connection, evidence: Evidence) -> str | None:
    """Whose token is meant, whatever became of it; None when there is no such token."""
    found = _look(connection, evidence)
    return None if found is None else found.subject


def _look(connection: Connection, evidence: Evidence) -> Any | None:
    return ask(connection, evidence.statements.look, evidence.values)


def _judge(row: Any | None) -> Any:
    if row is None:
        raise TokenInvalidError
    if row.consumed_at is not None or row.revoked_at is not None:
        raise TokenUsedError
    if row.is_over:
        raise TokenExpiredError
    return row


@dataclass(frozen=True, slots=True)
class _Statements:
    """What is asked about one token, each built once."""

    look: Select[Any]
    take: ReturningUpdate[Any]
    take_and_note: Select[Any]  # the same with its audit event, where the database does both at once


def _build_statements(identity: str) -> _Statements:
    """The statements that find a token by this column."""
    tokens = table_of(Token)
    told = [tokens.c[name] for name in ("id", "purpose", "subject", "email", "context", "client_id")]
    told += [tokens.c.issued_at, tokens.c.expires_at]
    is_meant = (
        tokens.c[identity] == bindparam("identity"),
        tokens.c.purpose == bindparam("wanted_purpose"),
        clients.is_open_to(bindparam("with_key", type_=Uuid), bindparam("live_at", type_=TZDateTime)),
    )
    look = select(
        *told,
        tokens.c.consumed_at,
        tokens.c.consumed_by,
        tokens.c.revoked_at,
        (tokens.c.expires_at <= database_now()).label("is_over"),
        (tokens.c.consumed_at > database_now(-REPEATABLE_FOR)).label("is_repeatable"),
    ).where(*is_meant)
    take = (
        update(tokens)
        .where(*is_meant, is_live(), tokens.c.expires_at > database_now())
        .values(consumed_at=database_now(), consumed_by=bindparam("redeemer", type_=LargeBinary))
        .returning(*told)
    )
    taken = take.cte("taken")
    noted = audit.insertion(taken, _CONSUMED, purpose=taken.c.purpose, id=taken.c.id).cte("noted")
    return _Statements(look, take, select(taken).add_cte(noted))


def _count_guess(tokens: Table) -> ReturningUpdate[Any]:
    could_be_meant = (
        tokens.c.email_key == bindparam("wanted_key", type_=String),
        tokens.c.purpose == bindparam("wanted_purpose", type_=String),
        is_live(),
        tokens.c.code_hash.is_not(None),
        tokens.c.expires_at > database_now(),
    )
    # Several subjects may have been mailed at one address. The newest mail is meant, and no older one adds its tries.
    newest = select(tokens.c.id).where(*could_be_meant).order_by(tokens.c.id.desc()).limit(1).scalar_subquery()
    return (
        update(tokens)
        .where(tokens.c.id == newest, *could_be_meant, tokens.c.code_try_count < MAX_CODE_TRIES)
        .values(code_try_count=tokens.c.code_try_count + 1)
        .returning(tokens.c.id, tokens.c.nonce, tokens.c.code_hash)
    )


def _note_guess(count: ReturningUpdate[Any]) -> Select[Any]:
    guessed = select(bindparam("guessed_at", type_=String).label("subject")).subquery()
    noted = audit.insertion(guessed, _GUESSED, purpose=bindparam("guessed_purpose", type_=String)).cte("noted")
    return select(count.cte("counted")).add_cte(noted)


_BY_HASH, _BY_ID = _build_statements("token_hash"), _build_statements("id")
_COUNT_GUESS = _count_guess(table_of(Token))
_COUNT_AND_NOTE = _note_guess(_COUNT_GUESS)
