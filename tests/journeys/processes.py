"""Starts real `email-service` processes in a folder of their own, and lets none of them outlive a test.

With TEST_IMAGE they are containers of that image. Knows processes, ports and HTTP; refuses to know what the service
should do.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import requests

from tests.journeys import containers
from tests.journeys.containers import Container

COMMAND = str(Path(sys.executable).with_name("email-service"))
# Where Linux offers it, a process ends with the tests even when those are killed; gunicorn's workers follow it.
LEASH = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
# A copy of the tree is tested as itself: PYTHONPATH comes before the installed package.
_TREE = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
START_SECONDS = 40
STOP_SECONDS = 40
# A command, its environment, and the container that it makes.
_Way = tuple[list[str], dict[str, str], Container | None]
_KEY = re.compile(r"esk_[0-9a-f]{12}_[A-Za-z0-9_-]+")


def wait_until(is_so: Callable[[], Any], seconds: float = 30, *, pause_seconds: float = 0.05) -> Any:
    """What `is_so` said when it first said something true; AssertionError when it never did."""
    ends_at = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < ends_at, f"not so within {seconds} seconds"
        time.sleep(pause_seconds)
    return found


def measured(text: str) -> None:
    """Tell a figure that no test asserts tightly; `-s` shows it."""
    print(text)  # noqa: T201 - this is how a test tells


def free_port() -> int:
    """A port below the ephemeral ones, so that no outgoing connection takes it before the service does."""
    while True:
        port = 20000 + secrets.randbelow(10000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Process:
    """One `email-service` command that runs until it is told to stop; it leads a process group of its own."""

    popen: subprocess.Popen[bytes]
    log_path: Path
    container: Container | None = None  # what it runs in; `popen` is then podman, which hands SIGTERM on

    @property
    def pid(self) -> int:
        return self.container.pid() if self.container else self.popen.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def children(self) -> list[int]:
        """The processes it started, such as gunicorn's workers."""
        return containers.children(self.pid)

    def wait(self) -> int:
        """The exit code, once it has ended; negative for the signal that ended it."""
        code = self.popen.wait(STOP_SECONDS)
        return containers.exit_code(code) if self.container else code

    def terminate(self) -> int:
        """SIGTERM, as an init system sends it; the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL for the whole group: nobody gets to tidy up."""
        if self.container:
            self.container.kill(self.popen, STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(STOP_SECONDS)


@dataclass
class Web:
    """A running `email-service run` and a key for it."""

    process: Process
    url: str
    api_key: str

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.api_key}", **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=options.pop("timeout", 35), **options)

    def get(self, path: str) -> Any:
        response = self.call("GET", path)
        assert response.ok, response.text
        return response.json()

    def send(self, to: str = "ada@example.com", **members: Any) -> dict[str, Any]:
        """Have one message accepted; what the 202 said."""
        response = self.call("POST", "/v1/messages", json={**welcome(to), **members})
        assert response.status_code == 202, response.text
        accepted: dict[str, Any] = response.json()
        return accepted

    def wait_for(self, message: dict[str, Any], *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """The message once its status is one of these."""

        def reached() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/v1/messages/{message['id']}")
            return found if found["status"] in statuses else None

        reached_message: dict[str, Any] = wait_until(reached, seconds)
        return reached_message


@dataclass
class House:
    """One installation: a folder, its settings, and the processes that were started in it."""

    folder: Path
    settings: dict[str, str]
    processes: list[Process] = field(default_factory=list)
    api_key: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command, environment, _ = self._way(arguments, settings)
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def start(
        self, *arguments: str, log: IO[bytes] | None = None, within: Sequence[str] = (), **settings: str
    ) -> Process:
        """Start a command that goes on; what it says goes to a file, and its log to `log` if that is given.

        `within` are the words of a program that begins it.
        """
        log_path = self.folder / f"{len(self.processes)}-{arguments[0]}.log"
        command, environment, container = self._way(arguments, settings)
        with log_path.open("wb") as own_log:
            popen = subprocess.Popen(
                [*LEASH, *within, *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=own_log,
                stderr=log or subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(Process(popen, log_path, container))
        return self.processes[-1]

    def serve(self, *arguments: str, port: int | None = None, **settings: str) -> Web:
        """Start the web process and wait until it answers."""
        port = port or free_port()
        return self.await_web(self.start("run", "--port", str(port), *arguments, **settings), port)

    def await_web(self, process: Process, port: int) -> Web:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.is_running(), process.log()
            with suppress(requests.RequestException):
                return requests.get(f"{url}/healthz", timeout=5).ok
            return False

        wait_until(answers, START_SECONDS)
        if printed := _KEY.search(process.log()):
            self.api_key = printed.group()
        return Web(process, url, self.api_key)

    def create_client(self) -> str:
        """A key for every call from now on: what an operator does with PostgreSQL."""
        created = self.command("client", "create", "journeys", "--scope", "*", "--json")
        assert created.returncode == 0, created.stderr
        printed = _KEY.search(created.stdout)
        assert printed
        self.api_key = printed.group()
        return self.api_key

    def logs(self) -> str:
        return "\n".join(process.log() for process in self.processes)

    def _way(self, words: Sequence[str], settings: dict[str, str]) -> _Way:
        """How a process of the service begins."""
        if not containers.IMAGE:
            return [COMMAND, *words], self._environment(settings), None
        container = Container()
        return container.command(self.folder, words, {**self.settings, **settings}), dict(os.environ), container

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        return {**_TREE, "PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **self.settings, **settings}


def welcome(to: str) -> dict[str, Any]:
    """The smallest message."""
    return {"template": "welcome", "to": to, "variables": {"name": "Ada"}}


def stop_all(processes: Iterable[Process]) -> list[int]:
    """SIGTERM for all of them at once; their exit codes."""
    stopping = list(processes)
    for process in stopping:
        process.popen.send_signal(signal.SIGTERM)
    return [process.wait() for process in stopping]
