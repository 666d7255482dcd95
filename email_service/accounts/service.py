"""Keep the registry of who exists: put an account, read it, erase it. Flushes, never commits; knows no HTTP.

Who else keeps something of an account is told by the `Followers` that the composition root lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from email_service.accounts.models import Account
from email_service.audit import service as audit
from email_service.audit.service import Actor
from email_service.kernel import clock, subjects
from email_service.kernel.addresses import address_key
from email_service.kernel.errors import EmailTakenError, InvalidInputError, NotFoundError

Revoke = Callable[[Session, str, Actor], object]
Erase = Callable[[Session, Account], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followers:
    """Who else has to do with accounts."""

    revoke: tuple[Revoke, ...] = ()  # what a subject holds is worth nothing any more
    erase: Mapping[str, Erase]  # by what it is called in the answer: forget the account; how many rows that was


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the main app says of an account."""

    email: str
    name: str = ""
    locale: str | None = None
    email_verified: bool = False
    is_disabled: bool = False


def get(session: Session, subject: str) -> Account:
    """The account; NotFoundError when there is none."""
    account = session.get(Account, _checked(subject))
    if account is None:
        raise _unknown(subject)
    return account


def put(session: Session, followers: Followers, subject: str, profile: Profile, actor: Actor) -> tuple[Account, bool]:
    """Make the account what the profile says; its row, and whether it is new. EmailTakenError: another one has it.

    Tokens and sessions of an account that gets another address or is disabled are revoked: what was mailed to the old
    address proves nothing any more.
    """
    while not _insert(session, _checked(subject), profile):
        account = session.get(Account, subject, with_for_update=True, populate_existing=True)
        if account is not None:
            _change(session, followers, account, profile, actor)
            return account, False
        # Either another account has the address, or what stood in the way was erased in between.
        _refuse_taken(session, subject, profile)
    audit.record(session, actor, "account.added", subject)
    if profile.is_disabled:
        # With an email, tokens are issued for subjects of whom nobody has told yet.
        _revoke(session, followers, subject, actor)
    return session.get_one(Account, subject, populate_existing=True), True


def confirm_address(session: Session, subject: str, email: str, actor: Actor) -> None:
    """Note that the account's person reads this address, as long as it is the account's own."""
    is_meant = (Account.subject == subject, Account.email_key == address_key(email), Account.email_verified.is_(False))
    statement = update(Account).where(*is_meant).values(email_verified=True, updated_at=clock.now())
    noted = session.execute(statement.returning(Account.subject), execution_options={"synchronize_session": False})
    if noted.first() is not None:
        audit.record(session, actor, "account.changed", subject, reason="email_verified")


def erase(session: Session, followers: Followers, subject: str, actor: Actor) -> dict[str, int]:
    """Forget the account and all that points to it; how much that was, by what it is. NotFoundError as in `get`."""
    account = session.scalar(select(Account).where(Account.subject == _checked(subject)).with_for_update())
    if account is None:
        raise _unknown(subject)
    _revoke(session, followers, subject, actor)
    erased = {name: forget(session, account) for name, forget in followers.erase.items()}
    session.delete(account)
    audit.record(session, actor, "account.erased", subject, **erased)
    session.flush()
    return erased


def _checked(subject: str) -> str:
    if not subjects.is_subject(subject):
        raise InvalidInputError.at(
            "/subject", f"A subject is 1 to {subjects.LONGEST} characters, none of them a control character."
        )
    return subject


def _insert(session: Session, subject: str, profile: Profile) -> bool:
    """Write the account unless its subject or its address is there already; whether it is new."""
    # Two callers may tell of the same account at once; for either of them the other must be no error.
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"subject": subject, "created_at": clock.now(), **_columns(profile)}
    statement = insert(Account).values(**values).on_conflict_do_nothing().returning(Account.subject)
    return session.execute(statement).first() is not None


def _change(session: Session, followers: Followers, account: Account, profile: Profile, actor: Actor) -> None:
    """Write the locked account anew; whoever holds something that it had before is told what it is worth now."""
    before = (account.email_key, account.is_disabled)
    _refuse_taken(session, account.subject, profile)
    for name, value in _columns(profile).items():
        setattr(account, name, value)
    try:
        session.flush()
    except IntegrityError:
        raise EmailTakenError from None  # somebody wrote the same address just now
    if before == (account.email_key, account.is_disabled):
        return
    is_moved = before[0] != account.email_key
    reason = "email_changed" if is_moved else "disabled" if account.is_disabled else "enabled"
    audit.record(session, actor, "account.changed", account.subject, reason=reason)
    if is_moved or account.is_disabled:
        _revoke(session, followers, account.subject, actor)


def _revoke(session: Session, followers: Followers, subject: str, actor: Actor) -> None:
    for revoke in followers.revoke:
        revoke(session, subject, actor)


def _refuse_taken(session: Session, subject: str, profile: Profile) -> None:
    has_it = (Account.email_key == address_key(profile.email), Account.subject != subject)
    if session.scalar(select(Account.subject).where(*has_it)) is not None:
        raise EmailTakenError


def _columns(profile: Profile) -> dict[str, Any]:
    email = {"email": profile.email, "email_key": address_key(profile.email)}
    return {**asdict(profile), **email, "updated_at": clock.now()}


def _unknown(subject: str) -> NotFoundError:
    return NotFoundError(f"There is no account {subject}.")
