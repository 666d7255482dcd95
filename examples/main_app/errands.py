"""What the email service still has to be told. An errand is written in the transaction that makes it necessary.

It is run afterwards. A service that is down costs nothing but time: errands wait, those of one person in order. Each
may run twice; none may be lost.
"""

import json
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, current_app

from main_app import database, users
from main_app.email_service import AwayError, RefusedError, service
from main_app.faults import FaultError
from main_app.users import User

_log = logging.getLogger(__name__)
_LEASE_SECONDS = 40  # longer than a call can take with its retries; whoever dies running an errand delays it by so much
_PAUSE_SECONDS = 2  # while the service is away
_ANYBODY = ""
_LOOK_SECONDS = 2
_SETTLING_SECONDS = 5
_news = threading.Event()


def add(connection: sqlite3.Connection, kind: str, subject: str, **detail: str) -> None:
    """Write an errand down; it is run when the transaction is committed, or not at all."""
    connection.execute(
        "INSERT INTO errands (kind, subject, detail, idempotency_key, due_at) VALUES (?, ?, ?, ?, ?)",
        (kind, subject, json.dumps(detail), secrets.token_urlsafe(24), time.time()),
    )


def wake() -> None:
    """There is something to do. The reader does not wait for it, so that the time of an answer tells nothing."""
    _news.set()


def start(app: Flask) -> None:
    """Run errands beside the requests of this process, until it ends."""

    def run() -> None:
        while True:
            _news.wait(_LOOK_SECONDS)
            _news.clear()
            try:
                with app.app_context():
                    while _run_next():
                        pass
            except Exception:  # noqa: BLE001 - one errand that nobody foresaw must not stop all others
                _log.exception("errands: one failed and is tried again")

    threading.Thread(target=run, name="errands", daemon=True).start()


def settle(subject: str) -> None:
    """Run this person's errands now; FaultError when some are left."""
    ends_at = time.monotonic() + _SETTLING_SECONDS
    while _count(subject):
        if not _run_next(subject):
            if time.monotonic() > ends_at:
                raise FaultError("unavailable")
            time.sleep(0.05)  # another thread has it


def settle_all() -> int:
    """Run all that is due; how many wait for another time."""
    while _run_next():
        pass
    return _count(_ANYBODY)


def _run_next(subject: str = _ANYBODY) -> bool:
    """Run one errand; whether there was one that is done."""
    errand = _take(subject)
    if errand is None:
        return False
    try:
        _run(errand)
    except AwayError:
        with database.transaction() as connection:
            later = time.time() + _PAUSE_SECONDS
            connection.execute("UPDATE errands SET due_at = ? WHERE id = ?", (later, errand["id"]))
        if subject == _ANYBODY:
            return False
        raise
    with database.transaction() as connection:
        connection.execute("DELETE FROM errands WHERE id = ?", (errand["id"],))
    return True


def _run(errand: sqlite3.Row) -> None:
    with database.transaction() as connection:
        user = users.find(connection, errand["subject"])
    if user is None:
        return
    try:
        _KINDS[errand["kind"]](user, errand["idempotency_key"], json.loads(errand["detail"]))
    except RefusedError as error:
        # It would be refused for ever, and stand in the way of what comes after it.
        _log.error("errands: %s for %s was refused: %s", errand["kind"], user.subject, error.reason)


def _take(subject: str) -> sqlite3.Row | None:
    """The next errand, leased. Only the first of each person, because an account comes before its mail."""
    now = time.time()
    with database.transaction() as connection:
        found: sqlite3.Row | None = connection.execute(
            """UPDATE errands SET due_at = :lease WHERE id = (
                SELECT id FROM errands AS first WHERE due_at <= :now AND :subject IN ('', subject) AND NOT EXISTS (
                    SELECT 1 FROM errands WHERE subject = first.subject AND id < first.id)
                ORDER BY due_at LIMIT 1)
            RETURNING *""",
            {"now": now, "lease": now + _LEASE_SECONDS, "subject": subject},
        ).fetchone()
    return found


def _count(subject: str) -> int:
    with database.transaction() as connection:
        found = connection.execute("SELECT count(*) FROM errands WHERE ? IN ('', subject)", (subject,))
        return int(found.fetchone()[0])


def _tell_account(user: User, _key: str, _detail: dict[str, Any]) -> None:
    """The row as it is now, so that an old errand tells nothing old."""
    service().put_account(user)


def _mail_verification(user: User, key: str, _detail: dict[str, Any]) -> None:
    if not user.email_verified:
        service().mail_token("email_verification", user.subject, key)


def _mail_invitation(user: User, key: str, detail: dict[str, Any]) -> None:
    service().mail_token("invitation", user.subject, key, inviter_name=detail["inviter_name"])


def _mail_password_changed(user: User, key: str, _detail: dict[str, Any]) -> None:
    service().mail_password_changed(user, key, current_app.config["MAIN_APP"].url + "/forgot-password")


def _sign_out(user: User, _key: str, _detail: dict[str, Any]) -> None:
    service().end_sessions(user.subject)


_KINDS: dict[str, Callable[[User, str, dict[str, Any]], None]] = {
    "tell_account": _tell_account,
    "mail_verification": _mail_verification,
    "mail_invitation": _mail_invitation,
    "mail_password_changed": _mail_password_changed,
    "sign_out": _sign_out,
}
