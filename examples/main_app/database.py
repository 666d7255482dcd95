"""The main app's own SQLite database: its tables, and one transaction at a time. Knows no Flask route and no rule."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flask import current_app

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    subject TEXT PRIMARY KEY,              -- what the email service knows the person by; never an address
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,        -- the address in small letters
    name TEXT NOT NULL,
    password_hash TEXT,                    -- NULL: invited, and has not accepted
    email_verified INTEGER NOT NULL DEFAULT 0,
    era INTEGER NOT NULL DEFAULT 0         -- of the sessions that count; a reset begins another one
) STRICT;
CREATE TABLE IF NOT EXISTS errands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- errands of a subject are run in this order
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,                  -- JSON
    idempotency_key TEXT NOT NULL,
    due_at REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS errands_by_subject ON errands (subject, id);
CREATE TABLE IF NOT EXISTS attempts (bucket TEXT NOT NULL, made_at REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS attempts_by_bucket ON attempts (bucket, made_at);
CREATE TABLE IF NOT EXISTS spent_assertions (jti TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) STRICT;
"""


def create_tables() -> None:
    with closing(_connect()) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_TABLES)


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """All of it happens or nothing. Never call the email service inside: a slow network would hold the write lock."""
    with closing(_connect()) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:  # bare re-raise: whatever it was, nothing stays half written
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _connect() -> sqlite3.Connection:
    connection = sqlite3.connect(current_app.config["MAIN_APP"].database, timeout=10, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection
