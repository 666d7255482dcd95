"""The service in both its shapes: Celery workers and beat on a Redis, or one process that does everything.

Starts them by the service's own commands only, and knows when their connections stand ready at the sink.
"""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import figures
import processes
import rivals
import sink
import stage

_START_SECONDS = 60
_GATHER_SECONDS = 6  # a worker starts that much later than another; MAIL_TIMEOUT, when it gives up, is longer
_SETTLE_SECONDS = 30


@dataclass
class Installation:
    """One database and the settings of all processes on it."""

    place: Path
    database: str
    server: sink.Handle
    settings: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(init=False)
    api_key: str = field(init=False)

    def __post_init__(self) -> None:
        self.variables = stage.environment(
            self.database,
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=str(self.server.port),
            MAIL_USE_TLS="false",
            MAIL_MAX_EMAILS="100000",  # as for the references: a connection lasts as long as the work does
            **self.settings,
        )
        self.api_key = stage.prepare(self.place, self.variables)

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        with processes.running(stage.command(*words), folder=self.place, environment=self.variables) as process:
            yield process

    @contextmanager
    def serving(self, web_processes: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
        """`email-service run`, while the block lasts; its port and its process."""
        port = processes.free_port()
        with self.started("run", "--port", str(port), "--workers", str(web_processes)) as process:
            processes.wait_for_port(port, process)
            yield port, process

    def wait_until_sent(self, count: int) -> None:
        """The last outcomes are written after the last final dot; an error when they are not."""
        until = time.monotonic() + _SETTLE_SECONDS
        while (statuses := stage.count_by_status(self.database)) != {"sent": count}:
            if time.monotonic() > until:
                raise RuntimeError(f"{count} were queued and the database has {statuses}.")
            time.sleep(0.2)

    def check(self, queued: set[str]) -> None:
        """Each message that was accepted came, once."""
        moments, taken = self.server.ask("moments"), self.server.ask("report")
        missing, foreign = len(queued - moments.keys()), len(moments.keys() - queued)
        assert not missing, f"{missing} of {len(queued)} messages never came"
        assert not foreign, f"{foreign} messages came that nobody queued"
        assert taken["messages"] == len(queued), f"{taken['messages'] - len(queued)} messages came twice"


ALL_LANES = "token,transactional,bulk"


@dataclass
class Fleet:
    """Beat and some workers."""

    house: Installation
    connections: int = 16  # of each worker
    lanes: Sequence[str] = (ALL_LANES, ALL_LANES)  # of each worker

    @property
    def name(self) -> str:
        return f"email-service, {len(self.lanes)} workers x {self.connections}"

    @contextmanager
    def working(self) -> Iterator[list[subprocess.Popen[str]]]:
        """The workers, while the block lasts."""
        with ExitStack() as stack:
            stack.enter_context(self.house.started("beat"))
            words = ("worker", "--concurrency", str(self.connections), "--lanes")
            yield [stack.enter_context(self.house.started(*words, lanes)) for lanes in self.lanes]

    @property
    def bulk_connections(self) -> int:
        """The connections that mail other than tokens can use: a worker for tokens and more keeps one back."""
        return sum(self.connections - ("token" in lanes) for lanes in self.lanes if "bulk" in lanes)

    def deliver(self, server: sink.Handle, count: int) -> rivals.Run:
        """Queue, start, let all connections open, and time from when the mail server begins to answer."""
        already = sum(stage.count_by_status(self.house.database).values())
        queued = stage.queue(self.house.database, count)
        server.ask("hold")
        server.ask("reset")
        with self.working() as workers:
            gather(server, workers, self.bulk_connections)
            run = measure(server, workers, count)
            self.house.wait_until_sent(already + count)
            taken = server.ask("report")
        self.house.check(queued)
        return rivals.Run(taken, run.cpu_seconds)


@dataclass
class Single:
    """`email-service run` with its default settings: one process, and its database may be SQLite."""

    house: Installation
    name: str = "email-service run, SQLite"

    def deliver(self, server: sink.Handle, count: int) -> rivals.Run:
        already = sum(stage.count_by_status(self.house.database).values())
        queued = stage.queue(self.house.database, count)
        server.ask("hold")
        server.ask("reset")
        with self.house.serving(1) as (_, process):
            gather(server, [process], 3)  # of the four, one waits for token mail
            run = measure(server, [process], count)
            self.house.wait_until_sent(already + count)
            taken = server.ask("report")
        self.house.check(queued)
        return rivals.Run(taken, run.cpu_seconds)


def gather(server: sink.Handle, started: Sequence[subprocess.Popen[str]], wanted: int) -> None:
    """Wait until so many connections stand at the sink, which does not greet them yet, or until no more are coming."""
    figures.tell("starting")
    begun_at = grown_at = time.monotonic()
    most = 0
    while most < wanted:
        now = time.monotonic()
        if (seen := _connections(server, started)) > most:
            most, grown_at = seen, now
        if most and now > grown_at + _GATHER_SECONDS:
            break
        if now > begun_at + _START_SECONDS:
            raise RuntimeError("Nobody came to the mail server.")
    figures.tell(f"{most} connections are open")


def measure(server: sink.Handle, started: Sequence[subprocess.Popen[str]], count: int) -> rivals.Run:
    """Let the sink speak, and wait until it has so many messages."""
    cpu_before = sum(processes.cpu_seconds(process.pid) for process in started)
    server.ask("go")
    rivals.wait_for(server, count, started)
    cpu_seconds = sum(processes.cpu_seconds(process.pid) for process in started) - cpu_before
    return rivals.Run(server.ask("report"), cpu_seconds)


def _connections(server: sink.Handle, started: Sequence[subprocess.Popen[str]]) -> int:
    if any(process.poll() is not None for process in started):
        raise RuntimeError("A process ended before it had delivered anything.")
    time.sleep(0.2)
    return int(server.ask("report")["connections"])
