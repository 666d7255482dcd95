"""The people: rows of the table `users`. Each function takes the connection of a transaction; none commits."""

import re
import secrets
import sqlite3
from dataclasses import dataclass, fields

from main_app.faults import FaultError

# Plain ASCII addresses; for others let the package email-validator judge. The mail that arrives is the proof.
_EMAIL = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z0-9-]{2,60}")
_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One row."""

    subject: str
    email: str
    email_key: str
    name: str
    password_hash: str | None
    email_verified: int
    era: int


def check_email(text: str) -> str:
    """The address, without blanks around it."""
    email = text.strip()
    if not _EMAIL.fullmatch(email):
        raise FaultError("email_malformed")
    return email


def check_name(text: str) -> str:
    """The name, which mail repeats to its reader: one line, and too short for an advertisement."""
    name = text.strip()
    if not 0 < len(name) <= _NAME_CHARACTERS or not name.isprintable():
        raise FaultError("name_malformed")
    return name


def find(connection: sqlite3.Connection, subject: str) -> User | None:
    return _user(connection.execute("SELECT * FROM users WHERE subject = ?", (subject,)))


def find_by_email(connection: sqlite3.Connection, email: str) -> User | None:
    return _user(connection.execute("SELECT * FROM users WHERE email_key = ?", (email.lower(),)))


def add(connection: sqlite3.Connection, email: str, name: str, password_hash: str | None) -> User:
    """The user with this address, who is made if need be.

    While nobody confirmed the address, the latest sign-up counts: whoever came first has proved nothing.
    """
    connection.execute(
        """INSERT INTO users (subject, email, email_key, name, password_hash) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (email_key) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash
        WHERE NOT email_verified AND excluded.password_hash IS NOT NULL""",
        (f"u-{secrets.token_hex(8)}", email, email.lower(), name, password_hash),
    )
    user = find_by_email(connection, email)
    assert user
    return user


def set_verified(connection: sqlite3.Connection, subject: str, password_hash: str | None) -> None:
    """Confirmed with this password, whichever a sign-up has put in its place meanwhile."""
    connection.execute(
        "UPDATE users SET email_verified = 1, password_hash = ? WHERE subject = ? AND NOT email_verified",
        (password_hash, subject),
    )


def set_password(connection: sqlite3.Connection, subject: str, password_hash: str) -> None:
    """A new password, chosen by somebody who reads the address; access tokens from before are worth nothing."""
    connection.execute(
        "UPDATE users SET password_hash = ?, email_verified = 1, era = era + 1 WHERE subject = ?",
        (password_hash, subject),
    )


def set_name(connection: sqlite3.Connection, subject: str, name: str) -> None:
    connection.execute("UPDATE users SET name = ? WHERE subject = ?", (name, subject))


def _user(cursor: sqlite3.Cursor) -> User | None:
    row = cursor.fetchone()
    return User(**{each.name: row[each.name] for each in fields(User)}) if row else None
