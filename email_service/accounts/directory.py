"""Finds out who exists. Which directory there is, `app` decides; here is what all of them answer, and the registry.

Looks accounts up and changes nothing.
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from email_service.accounts.models import Account
from email_service.kernel.addresses import address_key
from email_service.kernel.orm import table_of
from email_service.kernel.rows import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who exists, as any directory tells of them."""

    subject: str
    email: str
    name: str = ""
    locale: str | None = None
    email_verified: bool = False
    is_disabled: bool = False


class Directory(Protocol):
    """Where it is known who exists.

    Who is far away is asked before a transaction begins, by `ask_...`; what that returns is what to look into inside
    of one, by `find_...`. Both may raise UnavailableError.
    """

    def ask_subject(self, subject: str) -> "Directory":
        """The directory to look for this id in. No transaction is open, for this may take seconds."""

    def ask_email(self, email: str) -> "Directory":
        """The directory to look for this address, and for whoever has it, in; as above."""

    def find_subject(self, session: Session, subject: str) -> Person | None:
        """The person with this id; None when nobody has it."""

    def find_email(self, session: Session, email: str) -> Person | None:
        """The person who gets mail at this address; None when nobody does."""


class AtHand:
    """What directories have in common that nobody has to be asked for: each is itself the one to look into."""

    def ask_subject(self, subject: str) -> Self:
        """The same directory."""
        del subject
        return self

    def ask_email(self, email: str) -> Self:
        """The same directory."""
        del email
        return self


class Registry(AtHand):
    """The accounts that the main app put here (`PUT /v1/accounts/{subject}`); a transaction holds what it finds."""

    def find_subject(self, session: Session, subject: str) -> Person | None:
        """The account with this id; it is neither changed nor erased before the transaction ends."""
        # Who issues a token for an account must not overlook that it is disabled or moved at the same moment.
        return _person(ask(session.connection(), _BY_SUBJECT, {"wanted": subject}))

    def find_email(self, session: Session, email: str) -> Person | None:
        """The account with this address; capitals do not matter, tags do."""
        return _person(ask(session.connection(), _BY_EMAIL, {"wanted": address_key(email)}))


class Nobody(AtHand):
    """For services without a directory: every caller names the address, and nobody can ask for a token publicly."""

    def find_subject(self, session: Session, subject: str) -> Person | None:
        """Nobody is known."""
        del session, subject
        return None

    def find_email(self, session: Session, email: str) -> Person | None:
        """Nobody is known."""
        del session, email
        return None


@dataclass(frozen=True, slots=True)
class Told(AtHand):
    """What a directory that is far away said a moment ago of the one person who was asked for."""

    person: Person | None

    def find_subject(self, session: Session, subject: str) -> Person | None:
        """The person, when that is the one with this id."""
        del session
        return self.person if self.person is not None and self.person.subject == subject else None

    def find_email(self, session: Session, email: str) -> Person | None:
        """The person; whose address that is, the directory knows better than its letters do."""
        del session, email
        return self.person


def _person(account: Any | None) -> Person | None:
    if account is None:
        return None
    return Person(
        subject=account.subject,
        email=account.email,
        name=account.name,
        locale=account.locale,
        email_verified=account.email_verified,
        is_disabled=account.is_disabled,
    )


# Whoever refreshes a session is looked up, so these are built once.
_ACCOUNTS = table_of(Account)
_BY_SUBJECT = select(_ACCOUNTS).where(_ACCOUNTS.c.subject == bindparam("wanted")).with_for_update(read=True)
_BY_EMAIL = select(_ACCOUNTS).where(_ACCOUNTS.c.email_key == bindparam("wanted"))
