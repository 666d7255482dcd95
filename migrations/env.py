"""Runs the migrations over the application's own engine, each in a transaction that waits for no lock for long.

Two that start at once take turns, and an earlier version leaves alone what a later one has migrated.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from flask import current_app
from sqlalchemy import Connection, event, text

from email_service.cli.upgrade import is_ahead
from email_service.kernel.orm import autocommitting

# Any number does, as long as nobody else locks it; this one spells "mail".
_LOCK_NUMBER = 0x6D61696C
_TAKE = text(f"SELECT pg_try_advisory_lock({_LOCK_NUMBER})")
_GIVE = text(f"SELECT pg_advisory_unlock({_LOCK_NUMBER})")
_PAUSE_SECONDS = 0.2
# Whoever waits to change a table keeps all others from it who come later: for no longer than a caller hardly notices.
_LOCK_SECONDS = 2

database = current_app.extensions["migrate"].db


def render_item(kind: str, item: object, _context: object) -> str | bool:
    """Write our column types as what they are in the database, so that no revision depends on the code of today."""
    if kind == "type" and type(item).__module__.startswith("email_service"):
        return "sa.DateTime(timezone=True)"
    return False


def be_brief(connection: Connection) -> None:
    """Whatever runs outside of transactions may wait: an index that is built concurrently holds up nobody meanwhile."""
    is_outside = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    # For the session: SQLAlchemy asks this before it asks the engine's own listener, which begins the transaction.
    connection.exec_driver_sql(f"SET lock_timeout = '{0 if is_outside else _LOCK_SECONDS}s'")


@contextmanager
def turn() -> Iterator[None]:
    with autocommitting(database.engine).connect() as door:
        # Again and again: a statement that waited would hold a snapshot, for whose end an index that the other one
        # builds concurrently would wait.
        while not door.scalar(_TAKE):
            time.sleep(_PAUSE_SECONDS)
        try:
            yield
        finally:
            door.scalar(_GIVE)


def migrate(connection: Connection) -> None:
    if is_ahead(connection):
        return
    # The revisions are transactions of their own.
    connection.commit()
    is_postgres = connection.dialect.name == "postgresql"
    context.configure(
        connection=connection,
        target_metadata=database.metadata,
        render_as_batch=True,
        render_item=render_item,
        compare_type=True,
        # SQLite admits one writer at a time: all of them in one transaction is the turn.
        transactional_ddl=True,
        transaction_per_migration=is_postgres,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


if database.engine.dialect.name == "postgresql":
    with turn(), database.engine.connect() as own:
        event.listen(own, "begin", be_brief)
        try:
            migrate(own)
        finally:
            # Closed for good: the pool would hand it on as no other of its connections is.
            own.invalidate()
else:
    with database.engine.connect() as shared:
        migrate(shared)
