"""The programs of others that ours is measured against: each installs itself, exactly as locked, in a passing folder.

Knows how to start them and what they say; what they do is in the folders of their names, and Flask-Mail's loop beside.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import figures
import frames
import processes
import sink
import stage
from sqlalchemy import make_url

_HERE = Path(__file__).resolve().parent
_WARM_UP = 500
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Run:
    """What one delivery took."""

    taken: dict[str, Any]
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return float(self.taken["messages"] / (self.taken["last_at"] - self.taken["first_at"]))

    @property
    def cpu_milliseconds(self) -> float:
        return self.cpu_seconds / int(self.taken["messages"]) * 1000


class Rival(Protocol):
    """A reference that delivers a number of welcome messages to the sink."""

    name: str

    def deliver(self, server: sink.Handle, count: int) -> Run: ...


@dataclass
class Nodemailer:
    """nodemailer's pool in one or more Node processes; it has no queue, so nothing is read and nothing is kept."""

    place: Path
    connections: int = 32
    processes: int = 1
    version: str = field(init=False)

    def __post_init__(self) -> None:
        node, folder = install_for_node("nodemailer", self.place)
        self._command = [node, str(folder / "send.mjs")]
        self.version = node_version(folder, "nodemailer")

    @property
    def name(self) -> str:
        return f"nodemailer {self.version}, pool, {self.processes} x {self.connections // self.processes}"

    def deliver(self, server: sink.Handle, count: int) -> Run:
        share = count // self.processes
        with ExitStack() as stack:
            started = []
            for number in range(self.processes):
                is_last = number == self.processes - 1
                job = {
                    "port": server.port,
                    "connections": self.connections // self.processes,
                    "first": number * share,
                    "count": count - number * share if is_last else share,
                    "warmup": _WARM_UP // self.processes,
                    "template": frames.write(frames.HANDLEBARS),
                    **_letter(),
                }
                started.append(stack.enter_context(_ready(self._command, self.place, job)))
            return _measure(server, count, started)


@dataclass
class PostOffice:
    """django-post-office on a PostgreSQL database, with the number of processes, threads and rows that it is given."""

    place: Path
    database: str
    processes: int = 2
    threads: int = 16
    batch_size: int = 1000
    is_rendered_at_delivery: bool = True
    _is_first: bool = True

    def __post_init__(self) -> None:
        figures.tell("installing django-post-office")
        environment = self.place / "post_office"
        _install([sys.executable, "-m", "venv", str(environment)], self.place)
        requirements = str(_HERE / "post_office" / "requirements.txt")
        python = str(environment / "bin" / "python")
        pip = [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "-qq",
            "install",
            "--require-hashes",
            "-r",
            requirements,
        ]
        _install(pip, self.place)
        self._command = [python, str(_HERE / "post_office" / "queue_and_send.py")]
        listed = (line.partition("==") for line in Path(requirements).read_text().splitlines())
        self.version = next(rest.split()[0] for name, _, rest in listed if name == "django-post-office")

    @property
    def name(self) -> str:
        when = "" if self.is_rendered_at_delivery else ", rendered before"
        return f"django-post-office {self.version}, {self.processes} x {self.threads}, batch {self.batch_size}{when}"

    def deliver(self, server: sink.Handle, count: int) -> Run:
        job = {
            "port": server.port,
            "count": count,
            "database": _django_database(self.database),
            "processes": self.processes,
            "threads": self.threads,
            "batch_size": self.batch_size,
            "render_on_delivery": self.is_rendered_at_delivery,
            "is_first": self._is_first,
            "template": frames.write(frames.DJANGO),
            **_letter(),
        }
        figures.tell(f"django-post-office queues {count} messages")
        with _ready(self._command, self.place, job) as process:
            self._is_first = False
            run = _measure(server, count, [process])
            statuses = _hear(process)
        assert statuses == {"sent": count}, f"{count} were queued and django-post-office has {statuses}"
        return run


@dataclass
class FlaskMail:
    """The naive loop: it renders with plain Jinja and connects for each message; no queue, no record."""

    place: Path
    name: str = f"Flask-Mail {version('flask-mail')}, a connection each"

    def deliver(self, server: sink.Handle, count: int) -> Run:
        figures.tell(f"Flask-Mail sends {count} messages")
        server.ask("reset")
        command = [sys.executable, str(_HERE / "flask_mail_loop.py"), str(count), str(server.port)]
        done = subprocess.run(command, cwd=self.place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"The loop failed: {done.stderr.strip()[-500:]}")
        taken = server.ask("report")
        assert taken["messages"] == taken["ids"] == count, f"{count} were sent and the server saw {taken}"
        return Run(taken, json.loads(done.stdout)["cpu_seconds"])


def install_for_node(name: str, place: Path) -> tuple[str, Path]:
    """Node itself, and a copy of the folder of that name beside us with all that its lock names."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        sys.exit(f"{name} is measured too, and there is no node or npm here: install Node.js 20 or newer with npm.")
    folder = place / name
    shutil.copytree(_HERE / name, folder, ignore=shutil.ignore_patterns("node_modules"))
    figures.tell(f"installing {name}")
    _install([npm, "ci", "--omit=optional", "--ignore-scripts"], folder)
    return node, folder


def node_version(folder: Path, package: str) -> str:
    """The version that was installed."""
    return str(json.loads((folder / "node_modules" / package / "package.json").read_text())["version"])


def wait_for(server: sink.Handle, count: int, started: Sequence[subprocess.Popen[str]]) -> None:
    """Until the sink has that many messages; an error when a process ends before, or nothing arrives for long."""
    until = time.monotonic() + PATIENCE_SECONDS
    told_at = time.monotonic()
    while (seen := server.ask("report")["messages"]) < count:
        if time.monotonic() > until or any(process.poll() is not None for process in started):
            raise RuntimeError(f"Only {seen} of {count} messages arrived.")
        if time.monotonic() > told_at + 1:
            told_at = time.monotonic()
            figures.tell(f"delivered: {seen} of {count}")
        time.sleep(0.1)


def _measure(server: sink.Handle, count: int, started: Sequence[subprocess.Popen[str]]) -> Run:
    cpu_before = sum(processes.cpu_seconds(process.pid) for process in started)
    server.ask("reset")
    server.ask("go")
    for process in started:
        assert process.stdin is not None
        print("go", file=process.stdin, flush=True)
    wait_for(server, count, started)
    cpu = sum(processes.cpu_seconds(process.pid) for process in started) - cpu_before
    taken = server.ask("report")
    assert taken["messages"] == taken["ids"] == count, f"{count} were sent and the server saw {taken}"
    return Run(taken, cpu)


@contextmanager
def _ready(command: Sequence[str], place: Path, job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    path = place / f"job-{time.monotonic_ns()}.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    with processes.running([*command, str(path)], folder=place, is_asked=True) as process:
        _hear(process)
        yield process


def _hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("The reference ended before it had said anything.")
    said: dict[str, Any] = json.loads(line)
    return said


def _letter() -> dict[str, Any]:
    return {"sender": stage.SENDER, "variables": stage.VARIABLES, "brand": frames.brand()}


def _django_database(url: str) -> dict[str, Any]:
    parts = make_url(url)
    host = parts.host or parts.query.get("host", "")
    known = {
        "NAME": parts.database,
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": host,
        "PORT": parts.port,
    }
    return {name: value for name, value in known.items() if value}


def _install(command: Sequence[str], place: Path) -> None:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"{' '.join(command[:3])} failed, and the reference needs it: {(done.stderr or done.stdout).strip()[-500:]}"
        )
