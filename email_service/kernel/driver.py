"""Hand a statement straight to psycopg, on a connection and in a transaction of SQLAlchemy's.

SQLAlchemy's way from a text to a row takes longer than psycopg's and PostgreSQL's together. What is kept of it: its
errors, what it does about connections that are lost, and whoever listens to its statements. Knows no statement.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def execute(connection: Connection, text: str, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
    """The cursor after the statement; its rows have names. Raises what SQLAlchemy would raise, without the values."""
    psycopg_connection = connection.connection.driver_connection
    assert isinstance(psycopg_connection, psycopg.Connection)
    cursor = psycopg_connection.cursor(row_factory=namedtuple_row)
    context = SimpleNamespace()
    for listen in connection.dispatch.before_cursor_execute:
        listen(connection, cursor, text, values, context, False)
    try:
        cursor.execute(text, values)
    except psycopg.Error as error:
        raise _translate(connection, text, error) from error
    for listen in connection.dispatch.after_cursor_execute:
        listen(connection, cursor, text, values, context, False)
    return cursor


def _translate(connection: Connection, text: str, error: psycopg.Error) -> BaseException:
    is_lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type] # as any driver's
    translated = DBAPIError.instance(
        text,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=connection.dialect,
    )
    if is_lost:
        connection.invalidate(error)
    return translated
