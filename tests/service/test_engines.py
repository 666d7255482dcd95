"""What an engine of `kernel/orm` promises about its connections, on both databases."""

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from email_service.kernel.orm import autocommitting, open_engine

COUNT, ADD = text("SELECT count(*) FROM engine_things"), text("INSERT INTO engine_things VALUES ('a')")


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'engine.sqlite'}"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def engine(request):
    engine = open_engine(request.getfixturevalue(request.param))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE engine_things (name text)"))
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE engine_things"))
    engine.dispose()


def test_a_connection_that_the_server_closed_while_it_waited_is_replaced_without_an_error(postgres_url):
    ours, theirs = open_engine(postgres_url), open_engine(postgres_url)
    with ours.begin() as connection:
        before = connection.scalar(text("SELECT pg_backend_pid()"))
    with theirs.begin() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
    with ours.begin() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != before
    ours.dispose()
    theirs.dispose()


def test_a_server_that_ends_each_new_connection_counts_as_a_database_that_is_away(postgres_url):
    """F4: the pool takes it for nothing else, so that callers get a 503."""
    ours, theirs = open_engine(postgres_url), open_engine(postgres_url)

    def end(connection, _record) -> None:
        with theirs.begin() as other:
            assert other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": connection.info.backend_pid})

    event.listen(ours, "connect", end)
    with pytest.raises(OperationalError), ours.begin() as connection:
        connection.execute(text("SELECT 1"))
    ours.dispose()
    theirs.dispose()


def test_a_connection_is_used_again_while_its_server_is_there(postgres_url):
    engine = open_engine(postgres_url)
    pids = set()
    for _ in range(3):
        with engine.begin() as connection:
            pids.add(connection.scalar(text("SELECT pg_backend_pid()")))
    assert len(pids) == 1
    engine.dispose()


def test_a_transaction_on_sqlite_keeps_other_writers_out_from_its_first_read(sqlite_url):
    ours, theirs = open_engine(sqlite_url), open_engine(sqlite_url)
    with theirs.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with ours.connect() as reader:
        reader.execute(text("SELECT 1"))
        with pytest.raises(OperationalError, match="locked"), theirs.begin():
            pass
    ours.dispose()
    theirs.dispose()


def test_an_autocommitting_read_keeps_no_writer_waiting(engine):
    """T28"""
    with autocommitting(engine).connect() as reader:
        assert reader.scalar(COUNT) == 0
        with engine.begin() as writer:
            writer.execute(ADD)
        assert reader.scalar(COUNT) == 1


def test_an_autocommitting_write_is_there_at_once(engine):
    """T28"""
    with autocommitting(engine).connect() as writer, engine.connect() as reader:
        writer.execute(ADD)
        assert reader.scalar(COUNT) == 1


def test_a_connection_that_was_autocommitting_has_transactions_again(engine):
    with autocommitting(engine).connect() as connection:
        connection.scalar(COUNT)
    with engine.connect() as connection:
        connection.execute(ADD)
        connection.rollback()
        assert connection.scalar(COUNT) == 0
