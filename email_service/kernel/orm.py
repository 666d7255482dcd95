"""The base of every table and the column types they share.

Knows how to make SQLite and PostgreSQL behave alike: aware times, the database's own clock, safe SQLite pragmas.
Refuses to know any table, and which database is in use.
"""

import json
import select
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Table,
    bindparam,
    create_engine,
    event,
    literal,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, Uuid
from uuid_utils.compat import uuid7

_SQLITE_BUSY_MILLISECONDS = 15_000
_LOCK_MILLISECONDS = 10_000
_EMPTY: dict[str, Callable[[], Any]] = {"[]": list, "{}": dict}
_IS_NEW = "email_service_is_new"  # of a connection that nobody has used
_AUTOCOMMIT = "email_service_autocommit"  # an execution option of ours


class TZDateTime(TypeDecorator[datetime]):
    """An aware instant. SQLite drops time zones, so what it returns is UTC by agreement."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a time without a zone cannot be stored"
            raise ValueError(msg)
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class database_now(FunctionElement[datetime]):  # noqa: N801 - used like a SQL function, so it is named like one
    """The database's clock plus `delta`: leases and expiry must not depend on which machine's clock is wrong.

    It stands still during one statement, without which PostgreSQL could not look it up in an index.
    """

    type = TZDateTime()
    inherit_cache = True

    def __init__(self, delta: timedelta | BindParameter[float] = timedelta(0)) -> None:
        """`delta` may be a parameter in seconds, for statements that are built once."""
        super().__init__(literal(delta.total_seconds()) if isinstance(delta, timedelta) else delta)


@compiles(database_now, "postgresql")
def _postgresql_now(element: Any, compiler: SQLCompiler, **keywords: Any) -> str:
    return f"(statement_timestamp() + make_interval(secs => {compiler.process(element.clauses, **keywords)}))"


@compiles(database_now, "sqlite")
def _sqlite_now(element: Any, compiler: SQLCompiler, **keywords: Any) -> str:
    # The text has to sort beside what SQLAlchemy stores: six digits of a second, no zone.
    seconds = compiler.process(element.clauses, **keywords)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


class one_of(FunctionElement[bool]):  # noqa: N801 - as above
    """Whether a column holds one of the values of the list that a parameter of this name is given.

    On PostgreSQL the list is one array: the statement's text, and so its plan, is the same for lists of any length.
    """

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        super().__init__(column, bindparam(name, type_=postgresql.ARRAY(column.type)))


@compiles(one_of, "postgresql")
def _is_any(element: Any, compiler: SQLCompiler, **keywords: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **keywords)} = ANY ({compiler.process(values, **keywords)})"


@compiles(one_of, "sqlite")
def _is_in(element: Any, compiler: SQLCompiler, **keywords: Any) -> str:
    column, values = element.clauses
    return compiler.process(column.in_(bindparam(values.key, expanding=True)), **keywords)


class Base(DeclarativeBase):
    """What all tables share: constraint names that migrations can rely on, and types for Python's own."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: TZDateTime(), UUID: Uuid()}  # noqa: RUF012 - read by SQLAlchemy


def table_of(model: type[Base]) -> Table:
    """The model's table, for statements that are built once and touch no object."""
    assert isinstance(model.__table__, Table)
    return model.__table__


class Identified:
    """A row with a UUIDv7 (RFC 9562): unique everywhere and sorted by when it was made."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-1)


def new_id() -> UUID:
    """A fresh UUIDv7, for rows whose id is needed before they are written."""
    return uuid7()


def first_id_at(instant: datetime, *, after_milliseconds: int = 0) -> UUID:
    """The smallest UUIDv7 of this instant's millisecond (or of a later one), to bound ids where times are asked for."""
    milliseconds = int(instant.timestamp() * 1000) + after_milliseconds
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def prepare_engine(engine: Engine) -> Engine:
    """Make an engine's connections safe to use: pragmas for SQLite, a look before each use for the others."""
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _configure_sqlite)
    else:
        # Before SQLAlchemy's own first look at the server, which would fail in words that help nobody.
        event.listen(engine, "connect", _refuse_other_encodings, insert=True)
        event.listen(engine, "connect", _configure_postgresql)
        event.listen(engine, "checkout", _refuse_closed)
    event.listen(engine, "begin", _begin)
    return engine


def read_json(text: str | bytes) -> Any:
    """What a JSON column holds; most of them are empty, which takes no parser to see."""
    plain = text.decode() if isinstance(text, bytes) else text
    return _EMPTY[plain]() if plain in _EMPTY else json.loads(plain)


def open_engine(url: str) -> Engine:
    """An engine outside of Flask, for workers and commands."""
    return prepare_engine(create_engine(url))


def autocommitting(engine: Engine) -> Engine:
    """The same connections, every statement a transaction of its own: nothing is locked between two of them."""
    # Not SQLAlchemy's isolation level: it would switch the driver's transactions off and on again for each use.
    return engine.execution_options(**{_AUTOCOMMIT: True})


def is_autocommitting(connection: Connection) -> bool:
    """Whether it is one of `autocommitting`."""
    return _AUTOCOMMIT in connection.engine.get_execution_options()


def wake_after_commit(session: Session, lane: str) -> None:
    """Note that this transaction made a message of `lane` due; the boundary that commits wakes the workers."""
    session.info.setdefault("lanes_to_wake", set()).add(lane)


def take_lanes_to_wake(session: Session) -> set[str]:
    """The lanes noted since the last call; empty when there is nobody to wake."""
    lanes: set[str] = session.info.pop("lanes_to_wake", set())
    return lanes


def _configure_sqlite(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    # The driver's own transactions begin too late to protect a read that a write depends on; `_begin` begins them.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a 202 must survive a power cut
        "foreign_keys = ON",
        f"busy_timeout = {_SQLITE_BUSY_MILLISECONDS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _refuse_other_encodings(connection: Any, _record: Any) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise psycopg.OperationalError(
            f"its encoding is {encoding}, which cannot hold every name and address: make a new database with"
            " CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _configure_postgresql(connection: Any, record: Any) -> None:
    record.info[_IS_NEW] = True
    # Whoever locks a table for long gets callers a 503 and a Retry-After, not requests that never end.
    connection.execute(f"SET lock_timeout = {_LOCK_MILLISECONDS}")
    # Whatever this server's own defaults are.
    connection.execute("SET default_transaction_isolation = 'read committed'")
    connection.execute("SET datestyle = 'ISO'")
    connection.commit()
    # As with SQLite, no transaction begins by itself, so that the same connection serves with and without.
    connection.autocommit = True


def _refuse_closed(connection: Any, record: Any, _proxy: Any) -> None:
    # One that was made a moment ago tells by its first statement that the server is gone, and nothing in the pool is
    # better: refused as well, it would look to the pool like a mistake of the program.
    if record.info.pop(_IS_NEW, False):
        return
    # A server that restarted has closed its end, and the kernel knows: nothing else arrives on an idle connection.
    # Unlike `pool_pre_ping`, this costs no round trip. The pool takes the error as its sign to connect anew.
    arrivals = select.poll()
    if not connection.closed:
        arrivals.register(connection, select.POLLIN)
    if connection.closed or arrivals.poll(0):
        raise DisconnectionError


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    # The isolation level is how a migration asks for it (`autocommit_block`).
    if not options.get(_AUTOCOMMIT) and options.get("isolation_level") != "AUTOCOMMIT":
        # SQLite's deferred transaction that reads first and writes later fails when another writer came between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
