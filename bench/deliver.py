"""How fast queued messages reach a mail server on this machine, beside a Flask-Mail loop that connects for each.

.venv/bin/python bench/deliver.py [--quick]
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import figures
import processes
import sink
import stage

PATIENCE_SECONDS = 600


@dataclass
class Side:
    """One way to send, and what was measured of it."""

    name: str
    rates: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)
    connections: int = 0
    octets: int = 0

    def note(self, taken: dict[str, float], cpu_seconds: float) -> None:
        count = int(taken["messages"])
        self.rates.append(count / (taken["last_at"] - taken["first_at"]))
        self.cpu_milliseconds.append(cpu_seconds / count * 1000)
        self.connections, self.octets = int(taken["connections"]), int(taken["octets"] / count)

    def report(self) -> None:
        rate, cpu = figures.with_spread(self.rates, "/s"), figures.with_spread(self.cpu_milliseconds, " ms")
        print(f"{self.name:42} {rate:24} CPU {cpu} a message, {self.octets} bytes each, {self.connections} connections")


@dataclass
class Service:
    """`email-service run` on one database, delivering to the sink with its default settings."""

    place: Path
    database: str
    server: sink.Handle
    variables: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.variables = stage.environment(
            self.database, MAIL_SERVER="127.0.0.1", MAIL_PORT=str(self.server.port), MAIL_USE_TLS="false"
        )
        stage.prepare(self.place, self.variables)

    def deliver(self, count: int, side: Side) -> None:
        """Queue, start, wait for the last message, stop; nothing but delivering is timed."""
        figures.tell(f"queueing {count} messages")
        already = sum(stage.count_by_status(self.database).values())
        stage.queue(self.database, count)
        self.server.ask("reset")
        port = processes.free_port()
        with processes.running(stage.run_command(port), folder=self.place, environment=self.variables) as process:
            taken = _wait(self.server, count, process)
            cpu_seconds = processes.cpu_seconds(process.pid) - self.start_cpu_seconds
        side.note(taken, cpu_seconds)
        statuses = stage.count_by_status(self.database)
        assert statuses == {"sent": already + count}, f"{already + count} were queued and the database has {statuses}"
        assert taken["ids"] == count, f"{count} were queued and the server saw {taken['ids']} Message-IDs"

    @property
    def start_cpu_seconds(self) -> float:
        """What starting alone costs, which is not part of delivering; measured once on an empty queue."""
        if not hasattr(self, "_start_cpu_seconds"):
            self._start_cpu_seconds = 0.0
        return self._start_cpu_seconds

    def measure_start(self) -> None:
        port = processes.free_port()
        with processes.running(stage.run_command(port), folder=self.place, environment=self.variables) as process:
            processes.wait_for_port(port, process)
            time.sleep(3)
            self._start_cpu_seconds = processes.cpu_seconds(process.pid)


def _wait(server: sink.Handle, count: int, process: subprocess.Popen[str]) -> dict[str, float]:
    until = time.monotonic() + PATIENCE_SECONDS
    while (taken := server.ask("report"))["messages"] < count:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"Only {taken['messages']} of {count} messages arrived.")
        figures.tell(f"delivering: {taken['messages']} of {count}")
        time.sleep(0.25)
    time.sleep(1)  # the last outcomes are being written, and a duplicate would come now
    return server.ask("report")


def loop(place: Path, server: sink.Handle, count: int, side: Side) -> None:
    figures.tell(f"the loop sends {count} messages")
    server.ask("reset")
    program = Path(__file__).with_name("flask_mail_loop.py").resolve()
    command = [sys.executable, str(program), str(count), str(server.port)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The loop failed: {done.stderr.strip()[-500:]}")
    taken = server.ask("report")
    assert taken["messages"] == taken["ids"] == count
    side.note(taken, json.loads(done.stdout)["cpu_seconds"])


def compare(service: Service, ours: Side, theirs: Side, count: int, rounds: int) -> None:
    for number in range(1, rounds + 1):
        service.deliver(count, ours)
        figures.tell(f"round {number} of {rounds}: {ours.name}, {ours.rates[-1]:.0f}/s")
        loop(service.place, service.server, count, theirs)
        figures.tell(f"round {number} of {rounds}: {theirs.name}, {theirs.rates[-1]:.0f}/s")
    figures.clear()
    ours.report()
    theirs.report()
    print(f"ratio: {figures.ratios(ours.rates, theirs.rates)} in messages a second, ", end="")
    print(f"{figures.ratios(theirs.cpu_milliseconds, ours.cpu_milliseconds)} in CPU; ", end="")
    print(f"{count * rounds} messages, as many Message-IDs at the server, all `sent` in the database\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    parser.add_argument("--messages", type=int, default=5000, help="messages a round on PostgreSQL (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each side (%(default)s)")
    options = parser.parse_args()
    count, on_sqlite, rounds = (100, 50, 1) if options.quick else (options.messages, 1000, options.rounds)
    processes.end_politely_when_told()
    figures.introduce(f"deliver: {rounds} rounds of {count} messages a side, interleaved, to a sink on loopback")
    for kind, number in (("PostgreSQL", count), ("SQLite", on_sqlite)):
        with ExitStack() as stack:
            place = stack.enter_context(stage.folder())
            database = stack.enter_context(stage.postgres()) if kind == "PostgreSQL" else stage.sqlite(place)
            server = stack.enter_context(sink.running(place))
            service = Service(place, database, server)
            service.measure_start()
            compare(service, Side(f"email-service run, {kind}"), Side("Flask-Mail, a connection each"), number, rounds)
            print(f"the sink used {server.cpu_seconds():.1f} s of CPU in all\n")


if __name__ == "__main__":
    main()
