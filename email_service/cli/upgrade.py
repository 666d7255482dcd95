"""Brings the database to the state that this version needs, while the version before it serves.

Knows when to try again and when to leave a database alone; what changes is in the migrations.
"""

import time

import click
import flask_migrate
import structlog
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from email_service.extensions import db

_log = structlog.get_logger(__name__)

# Between tries. With the 2 seconds that a migration waits for a lock (migrations/env.py), that is 40 seconds at most.
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
_LOCKED = {"55P03", "40P01"}  # PostgreSQL's lock_not_available and deadlock_detected


def upgrade(app: Flask) -> bool:
    """Whether the database is now as this version needs it; False when it is newer, and was left as it is.

    A newer one is met by a process that starts while the version after its own is rolled out, or after that was taken
    back. Raises ClickException when others kept a table locked for too long: the revision that got no lock is undone.
    """
    with app.app_context():
        for pause_seconds in (0.0, *PAUSES_SECONDS):
            if pause_seconds:
                _log.warning("migrations.locked", next_try_seconds=pause_seconds)
                time.sleep(pause_seconds)
            # Whoever has nothing to do waits for no turn, however long the migration of a later version takes.
            if not _is_behind() or _try():
                return _is_current()
    raise click.ClickException(
        "The database was not migrated, because others hold locks on its tables: look for long transactions"
        " (pg_stat_activity), then run `email-service migrate` again. What serves goes on as before."
    )


def is_ahead(connection: Connection) -> bool:
    """Whether a later version of the service has migrated this database."""
    known = {each.revision for each in _scripts().walk_revisions()}
    return not known.issuperset(_heads(connection))


def _is_behind() -> bool:
    with db.engine.connect() as connection:
        return not is_ahead(connection) and set(_heads(connection)) != set(_scripts().get_heads())


def _try() -> bool:
    try:
        flask_migrate.upgrade()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) not in _LOCKED:
            raise
        return False
    return True


def _is_current() -> bool:
    with db.engine.connect() as connection:
        if not is_ahead(connection):
            return True
    _log.warning("migrations.ahead")
    return False


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(current_app.extensions["migrate"].migrate.directory)


def _heads(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()
