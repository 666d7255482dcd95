"""Insert rows of several tables that stand or fall together, in as few round trips as the database allows.

Knows how each database takes them; refuses to know what any row means. Never commits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import Connection, Dialect, Select, Table, UpdateBase, bindparam, insert
from sqlalchemy.exc import IntegrityError

from email_service.kernel import driver
from email_service.kernel.orm import is_autocommitting

NewRow = tuple[Table, Mapping[str, Any]]
Statement = Select[Any] | UpdateBase
_Shape = tuple[tuple[Table, tuple[str, ...]], ...]
_Binder = tuple[str, Callable[[Any], Any] | None]
_SHAPES = 64
_FEW = 16  # a message with its content, two events, ten tags, an override and its idempotency record


def insert_together(connection: Connection, rows: Sequence[NewRow]) -> None:
    """Insert the rows in the connection's transaction; a few of them need none, for they are one statement.

    A row names every column that has neither a default of the database's nor may be null, and rows of one table name
    the same ones: the models' own defaults are not asked. Rows that others point to come first.
    """
    dialect = connection.dialect
    if dialect.name == "postgresql" and len(rows) <= _FEW:
        # What this costs here does not depend on the unit of work, and the database checks foreign keys when the whole
        # statement is done.
        text, binders = _statement(dialect, tuple((table, tuple(values)) for table, values in rows))
        driver.execute(connection, text, dict(_bound(binders, rows)))
        return
    if is_autocommitting(connection):
        raise AssertionError("Several statements stand and fall together in a transaction only.")
    for table, group in groupby(sorted(rows, key=_first_place(rows)), key=lambda row: row[0]):
        connection.execute(insert(table), [dict(values) for _, values in group])


def insert_many(connection: Connection, rows: Mapping[Table, Sequence[Mapping[str, Any]]]) -> None:
    """Insert any number of rows of each table; rows of one table name the same columns, and none points to another's.

    On PostgreSQL that is one statement, and the rows travel as one JSON text for each table: to bind every value by
    itself takes the driver longer than the database needs for the rows.
    """
    filled = {table: of_table for table, of_table in rows.items() if of_table}
    if not filled:
        return
    if connection.dialect.name != "postgresql":
        for table, of_table in filled.items():
            connection.execute(insert(table), of_table)
        return
    text = _statement_for_many(connection.dialect, tuple((table, tuple(each[0])) for table, each in filled.items()))
    # Ids and times are most of it, which the standard library's encoder writes by calls of Python: ten times as long.
    told = {f"p{place}": orjson.dumps(each).decode() for place, each in enumerate(filled.values())}
    driver.execute(connection, text, told)


def ask(connection: Connection, question: Statement, values: Mapping[str, Any]) -> Any | None:
    """The one row that a statement with these parameters finds or returns, or None; see `run`."""
    if connection.dialect.name == "postgresql":
        return driver.execute(connection, *_bound_to(connection.dialect, question, values)).fetchone()
    return connection.execute(question, values).one_or_none()


def run(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> None:
    """Execute a statement with these parameters.

    On PostgreSQL its text is made once, and the driver's own types are the answer: a hot statement then costs a third.
    `statement` has to be one object for the life of the process.
    """
    if connection.dialect.name == "postgresql":
        driver.execute(connection, *_bound_to(connection.dialect, statement, values))
    else:
        connection.execute(statement, values)


@lru_cache(_SHAPES)
def _statement_for_many(dialect: Dialect, shape: _Shape) -> str:
    texts = []
    for place, (table, names) in enumerate(shape):
        columns = ", ".join(f'"{name}"' for name in names)
        kinds = ", ".join(f'"{name}" {table.c[name].type.compile(dialect)}' for name in names)
        given = f"jsonb_to_recordset(%(p{place})s::jsonb) AS given({kinds})"
        texts.append(f'INSERT INTO "{table.name}" ({columns}) SELECT {columns} FROM {given}')  # noqa: S608 - our own names only
    before = ", ".join(f"inserted_{number} AS ({text})" for number, text in enumerate(texts[:-1]))
    return f"WITH {before} {texts[-1]}" if before else texts[-1]


def broken_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint that was violated, where the database says it."""
    return getattr(getattr(error.orig, "diag", None), "constraint_name", None)


def _first_place(rows: Sequence[NewRow]) -> Callable[[NewRow], int]:
    places: dict[Table, int] = {}
    for table, _ in rows:
        places.setdefault(table, len(places))
    return lambda row: places[row[0]]


def _bound(binders: Sequence[_Binder], rows: Sequence[NewRow]) -> Iterator[tuple[str, Any]]:
    given = (value for _, values in rows for value in values.values())
    for (name, convert), value in zip(binders, given, strict=True):
        yield name, value if convert is None else convert(value)


def _bound_to(dialect: Dialect, statement: Statement, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    text, parameters = _text(dialect, statement)
    return text, {**parameters, **values}


@lru_cache(_SHAPES)
def _text(dialect: Dialect, statement: Statement) -> tuple[str, Mapping[str, Any]]:
    """The statement's text, and the parameters that stand in it already."""
    compiled = statement.compile(dialect=dialect)
    # A parameter that somebody forgets to give is an error, and not a NULL.
    return str(compiled), {name: bind.value for name, bind in compiled.binds.items() if not bind.required}


@lru_cache(_SHAPES)
def _statement(dialect: Dialect, shape: _Shape) -> tuple[str, tuple[_Binder, ...]]:
    """One statement that inserts one row into each table, and how each of its values is bound."""
    texts: list[str] = []
    binders: list[_Binder] = []
    for table, names in shape:
        parameters: dict[str, Any] = {}
        for name in names:
            kind = table.c[name].type
            binders.append((f"p{len(binders)}", kind.dialect_impl(dialect).bind_processor(dialect)))
            parameters[name] = bindparam(binders[-1][0], type_=kind)
        texts.append(str(insert(table).values(parameters).compile(dialect=dialect)))
    before = ", ".join(f"inserted_{number} AS ({text})" for number, text in enumerate(texts[:-1]))
    return (f"WITH {before} {texts[-1]}" if before else texts[-1]), tuple(binders)
