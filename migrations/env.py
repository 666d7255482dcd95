"""Runs the migrations over the application's own engine; two that start at once take turns."""

from alembic import context
from flask import current_app
from sqlalchemy import text

# Any number does, as long as nobody else locks it; this one spells "mail".
_LOCK_NUMBER = 0x6D61696C

database = current_app.extensions["migrate"].db


def render_item(kind: str, item: object, _context: object) -> str | bool:
    """Write our column types as what they are in the database, so that no revision depends on the code of today."""
    if kind == "type" and type(item).__module__.startswith("email_service"):
        return "sa.DateTime(timezone=True)"
    return False


with database.engine.connect() as connection:
    if connection.dialect.name == "postgresql":
        # Taking turns may last longer than a request would wait for a lock.
        connection.execute(text("SET lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK_NUMBER})
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=database.metadata,
        render_as_batch=True,
        render_item=render_item,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": _LOCK_NUMBER})
    connection.commit()
