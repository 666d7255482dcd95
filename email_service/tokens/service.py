"""Issue tokens and revoke them; a new one takes the place of the live one. Flushes, never commits; knows no HTTP.

What is written here cannot be redeemed: the token itself is made from its nonce, when the mail is rendered or the
caller is answered. Redeeming is `redemption`'s business.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, and_, delete, func, literal, select, update
from sqlalchemy.orm import Session

from email_service.accounts.directory import Directory, Person
from email_service.accounts.models import Account
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel import crypto, tallies
from email_service.kernel.addresses import address_key
from email_service.kernel.derivation import Deriver, code_place, token_place
from email_service.kernel.errors import AccountDisabledError, AccountUnknownError, InvalidInputError, NotFoundError
from email_service.kernel.orm import database_now, new_id, table_of
from email_service.kernel.tallies import TokenIssue
from email_service.messages import life
from email_service.messages import service as messages
from email_service.messages.service import Intake
from email_service.messages.submission import Submission
from email_service.tokens.models import Token, TokenRequest
from email_service.tokens.purposes import RULES, Purpose

_UNSYNCHRONISED = {"synchronize_session": False}
_NAME_CHARACTERS = 100  # that the templates take
_OURS = ("action_url", "code", "expires_in_minutes")  # variables that only this service can know


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What issuing needs besides the database."""

    intake: Intake
    deriver: Deriver
    directory: Directory
    terms: Mapping[Purpose, "Terms"]

    def ask(self, *, subject: str | None = None, email: str | None = None) -> "Office":
        """The office after its directory was asked, for a transaction that begins later. UnavailableError."""
        if email is not None:
            return replace(self, directory=self.directory.ask_email(email))
        return self if subject is None else replace(self, directory=self.directory.ask_subject(subject))


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator chose for the tokens of one purpose."""

    ttl_seconds: int
    page: str | None  # the URL of the page that the link leads to; None: there is no link


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One token as it was asked for."""

    purpose: Purpose
    subject: str
    client_id: UUID
    email: str | None = None  # None: the account's own
    locale: str | None = None  # None: the account's own
    variables: Mapping[str, Any] = field(default_factory=dict)  # of the template, beside those that only we can know
    context: Mapping[str, Any] = field(default_factory=dict)
    ttl_seconds: int | None = None  # None: the purpose's own
    is_delivered: bool = True  # False: the caller hands it over


def issue(session: Session, office: Office, order: Order, actor: Actor) -> Token:
    """A new live token, the only one of its subject and purpose, and the message that carries it.

    The office was asked for the subject (`Office.ask`) before the transaction began.
    Raises AccountUnknownError for an unknown subject without an email, AccountDisabledError, and InvalidInputError for
    variables that the purpose's template cannot be rendered with.
    """
    token = _build(office.deriver, order)  # which takes a code's hash 40 ms, so nothing is locked yet
    person = _find_person(session, office.directory, order)
    now = _take_turn(session, order.subject, order.purpose)
    _revoke(session, and_(Token.subject == order.subject, Token.purpose == order.purpose))
    token.email, token.email_key = person.email, address_key(person.email)
    token.issued_at = now
    token.expires_at = now + timedelta(seconds=order.ttl_seconds or office.terms[order.purpose].ttl_seconds)
    if order.is_delivered:
        submission = _write(office, order, person, token)
        token.message_id = messages.accept(session, office.intake, order.client_id, submission, actor).id
    session.add(token)
    message_id = token.message_id and str(token.message_id)
    audit.record(
        session, actor, "token.issued", order.subject, purpose=order.purpose, id=str(token.id), message_id=message_id
    )
    tallies.note(session, TokenIssue(order.purpose, "issued"))
    session.flush()
    return token


def revoke(session: Session, subject: str, purpose: Purpose | None, actor: Actor) -> int:
    """Let no live token of the subject be redeemed any more, of one purpose or of all; how many there were."""
    of_subject = Token.subject == subject
    count = _revoke(session, and_(of_subject, Token.purpose == purpose) if purpose else of_subject)
    if count:
        audit.record(session, actor, "token.revoked", subject, purpose=purpose, count=count)
    return count


def revoke_all(session: Session, subject: str, actor: Actor) -> int:
    """The same for every purpose, for whoever follows an account's changes."""
    return revoke(session, subject, None, actor)


def erase(session: Session, account: Account) -> int:
    """Forget that there ever was a token of this account, or a request for one; how many rows that was."""
    # A stranger may have written it in other letters.
    is_its_own = func.lower(TokenRequest.email).in_({account.email.lower(), account.email_key})
    requested = delete(TokenRequest).where(is_its_own).returning(TokenRequest.id)
    issued = delete(Token).where(Token.subject == account.subject).returning(Token.id)
    return sum(len(session.execute(each, execution_options=_UNSYNCHRONISED).all()) for each in (requested, issued))


def is_live() -> ColumnElement[bool]:
    """What holds of a token that nobody redeemed or replaced; it may have expired."""
    tokens = table_of(Token).c
    return and_(tokens.consumed_at.is_(None), tokens.revoked_at.is_(None))


def secret_of(session: Session, office: Office, token_id: UUID) -> dict[str, str]:
    """Token and code of the token with this id, for a caller who hands them over: made again, kept nowhere.

    NotFoundError when the token was forgotten since, with its account.
    """
    token = session.get(Token, token_id)
    if token is None:
        raise NotFoundError("The token was forgotten together with its account.")
    made = {}
    if token.token_hash is not None:
        made["token"] = office.deriver.token(token.nonce)
    if token.code_hash is not None:
        made["code"] = office.deriver.code(token.nonce)
    return made


def _find_person(session: Session, directory: Directory, order: Order) -> Person:
    person = directory.find_subject(session, order.subject)
    if person is None and order.email is None:
        raise AccountUnknownError
    if person is not None and person.is_disabled:
        raise AccountDisabledError
    if person is None or order.email is not None:
        known = person or Person(subject=order.subject, email="")
        return replace(known, email=order.email or "")
    return person


def _take_turn(session: Session, subject: str, purpose: Purpose) -> datetime:
    """Wait until nobody else issues for this subject and purpose; the database's time."""
    asked: list[Any] = [database_now()]
    if session.get_bind().dialect.name == "postgresql":
        digest = hashlib.sha256(f"token\n{purpose}\n{subject}".encode()).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        asked.append(func.pg_advisory_xact_lock(literal(number, BigInteger)))
    now: datetime = session.execute(select(*asked)).one()[0]
    return now


def _revoke(session: Session, wanted: ColumnElement[bool]) -> int:
    revoked = session.execute(
        update(Token).where(wanted, is_live()).values(revoked_at=database_now()).returning(Token.message_id),
        execution_options=_UNSYNCHRONISED,
    ).all()
    for (message_id,) in revoked:
        if message_id is not None:
            life.supersede(session, message_id)
    return len(revoked)


def _build(deriver: Deriver, order: Order) -> Token:
    """The token without its address and its times."""
    rule, nonce = RULES[order.purpose], deriver.new_nonce()
    return Token(
        id=new_id(),
        purpose=order.purpose,
        subject=order.subject,
        nonce=nonce,
        token_hash=crypto.hash_secret(deriver.token(nonce)) if rule.has_link else None,
        code_hash=deriver.hash_code(nonce, deriver.code(nonce)) if rule.has_code else None,
        code_try_count=0,
        context=dict(order.context),
        client_id=order.client_id,
    )


def _write(office: Office, order: Order, person: Person, token: Token) -> Submission:
    rule, page = RULES[order.purpose], office.terms[order.purpose].page
    for name in _OURS:
        if name in order.variables:
            raise InvalidInputError.at(f"/variables/{name}", "The service makes this value itself; leave it out.")
    minutes = max(1, int((token.expires_at - token.issued_at).total_seconds()) // 60)
    known = {
        "name": person.name[:_NAME_CHARACTERS].strip(),
        "action_url": page and f"{page}?token={token_place(token.nonce)}",
        "code": rule.has_code and code_place(token.nonce),
        "expires_in_minutes": minutes,
    }
    taken = office.intake.catalog.get(rule.template).variables_schema["properties"]
    ours = {name: value for name, value in known.items() if value and name in taken}
    return Submission(
        template=rule.template,
        to={"email": person.email, "name": person.name},
        variables={**ours, **order.variables},
        locale=order.locale or person.locale,
        expires_at=token.expires_at,
        token_nonce=token.nonce,
    )
