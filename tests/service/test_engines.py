"""What an engine of `kernel/orm` promises about its connections, on both databases."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from email_service.kernel.orm import autocommitting, open_engine


@pytest.fixture
def sqlite_engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'engine.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (name text)"))
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine(postgres_url):
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


def test_a_connection_that_the_server_closed_while_it_waited_is_replaced_without_an_error(postgres_engine):
    with postgres_engine.begin() as connection:
        before = connection.scalar(text("SELECT pg_backend_pid()"))
    with postgres_engine.begin() as doomed, postgres_engine.begin() as other:
        assert doomed.scalar(text("SELECT pg_backend_pid()")) == before
        killer = other.scalar(text("SELECT pg_backend_pid()"))
    with postgres_engine.connect() as first, postgres_engine.connect() as second:
        alive = next(each for each in (first, second) if each.scalar(text("SELECT pg_backend_pid()")) == killer)
        victim = first if alive is second else second
        victim.rollback()
        victim.close()
        alive.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
        with postgres_engine.connect() as connection:
            assert connection.scalar(text("SELECT pg_backend_pid()")) not in {before, killer}


def test_an_ordinary_transaction_on_sqlite_keeps_other_writers_out_from_its_first_read(sqlite_engine):
    with sqlite_engine.connect() as reader, sqlite_engine.connect() as writer:
        writer.exec_driver_sql("ROLLBACK")
        writer.exec_driver_sql("PRAGMA busy_timeout = 10")
        reader.execute(text("SELECT * FROM things"))
        with pytest.raises(OperationalError, match="locked"):
            writer.execute(text("INSERT INTO things VALUES ('a')"))


def test_an_autocommitting_read_on_sqlite_keeps_nobody_waiting(sqlite_engine):
    """T28"""
    with autocommitting(sqlite_engine).connect() as reader:
        reader.execute(text("SELECT * FROM things"))
        with sqlite_engine.begin() as writer:
            writer.execute(text("INSERT INTO things VALUES ('a')"))


def test_an_autocommitting_write_is_there_at_once(sqlite_engine, postgres_engine):
    """T28"""
    with postgres_engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (name text)"))
    for engine in (sqlite_engine, postgres_engine):
        with autocommitting(engine).connect() as writer:
            writer.execute(text("INSERT INTO things VALUES ('a')"))
            with autocommitting(engine).connect() as reader:
                assert reader.scalar(text("SELECT count(*) FROM things")) == 1


def test_an_ordinary_transaction_is_one_again_after_an_autocommitting_one(sqlite_engine, postgres_engine):
    with postgres_engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (name text)"))
    for engine in (sqlite_engine, postgres_engine):
        with autocommitting(engine).connect() as connection:
            connection.execute(text("SELECT count(*) FROM things"))
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO things VALUES ('a')"))
            connection.rollback()
            assert connection.scalar(text("SELECT count(*) FROM things")) == 0
