"""How fast `POST /v1/messages` answers on PostgreSQL, beside two views that only insert one row, under gunicorn too;
and how many messages a second `POST /v1/messages/batch` takes, beside the single call.

.venv/bin/python bench/accept.py [--quick]
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import figures
import load
import processes
import references
import stage

WORKERS, THREADS, CONNECTIONS = 2, 8, 16
BATCH, BATCH_CONNECTIONS = 500, 4
BATCH_FACTOR = 10  # times as many messages in a round of the batch, so that it takes as long
MESSAGE = {"template": "welcome", "to": "ada@example.com", "variables": stage.VARIABLES}
BODY = json.dumps(MESSAGE)
# As a caller's would be: no two of its messages to one address.
BATCH_BODY = json.dumps({"messages": [{**MESSAGE, "to": f"reader{number}@example.com"} for number in range(BATCH)]})


@dataclass
class Side:
    """One application behind its gunicorn, and what was measured of it."""

    name: str
    application: str
    path: str
    size: int = 1  # messages in each request
    messages: int = 0  # that were answered for, warming up included
    pid: int = 0
    port: int = 0
    rates: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def measure(self, round_name: str, messages: int, api_key: str) -> None:
        requests = messages // self.size
        self.messages += requests * self.size
        cpu_before = processes.cpu_seconds(self.pid)
        seen = load.post(
            name=round_name,
            port=self.port,
            path=self.path,
            requests=requests,
            connections=CONNECTIONS if self.size == 1 else BATCH_CONNECTIONS,
            body=BODY if self.size == 1 else BATCH_BODY,
            api_key=api_key,
            status=202 if self.size == 1 else 200,
        )
        self.rates.append(messages / seen["seconds"])
        self.cpu_milliseconds.append((processes.cpu_seconds(self.pid) - cpu_before) / messages * 1000)
        self.latencies += seen["latencies"]


def start(stack: ExitStack, side: Side, place: Path, variables: dict[str, str]) -> None:
    side.port = processes.free_port()
    command = stage.gunicorn_command(side.application, side.port, workers=WORKERS, threads=THREADS)
    process = stack.enter_context(processes.running(command, folder=place, environment=variables))
    side.pid = process.pid
    processes.wait_for_port(side.port, process)


def measure(sides: list[Side], api_key: str, requests: int, rounds: int) -> None:
    for side in sides:
        side.measure("warm-up", max(100, requests // 10) if side.size == 1 else side.size * BATCH_CONNECTIONS, api_key)
        side.rates.clear()
        side.cpu_milliseconds.clear()
        side.latencies.clear()
    for number in range(1, rounds + 1):
        # Every other round goes the other way, so that no side always follows the same neighbour.
        for side in sides if number % 2 else reversed(sides):
            side.measure(f"round-{number}", requests if side.size == 1 else requests * BATCH_FACTOR, api_key)
            figures.tell(f"round {number} of {rounds}: {side.name}, {side.rates[-1]:.0f}/s")
    figures.clear()


def report(sides: list[Side]) -> None:
    for side in sides:
        p50, p99 = (figures.percentile(side.latencies, share) * 1000 for share in (0.5, 0.99))
        rate = figures.with_spread(side.rates, "/s")
        cpu = figures.with_spread(side.cpu_milliseconds, " ms")
        unit = "request" if side.size == 1 else "message"
        print(f"{side.name:42} {rate:24} p50 {p50:5.1f} ms  p99 {p99:5.1f} ms  web CPU {cpu} a {unit}")
    ours, *references, batch = sides
    for other in references:
        print(f"ratio to {other.name}: {figures.ratios(ours.rates, other.rates)} in requests a second, ", end="")
        print(f"{figures.ratios(other.cpu_milliseconds, ours.cpu_milliseconds)} in web CPU")
    print(
        f"ratio of {batch.name} to {ours.name}: {figures.ratios(batch.rates, ours.rates)} in messages a second, ",
        end="",
    )
    print(f"{figures.ratios(ours.cpu_milliseconds, batch.cpu_milliseconds)} in web CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    parser.add_argument("--requests", type=int, default=1000, help="requests in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (%(default)s)")
    options = parser.parse_args()
    requests, rounds = (200, 2) if options.quick else (options.requests, options.rounds)
    processes.end_politely_when_told()
    figures.introduce(
        f"accept: {rounds} rounds of {requests} requests over {CONNECTIONS} connections a side, interleaved"
    )
    sides = [
        Side("POST /v1/messages", "wsgi:application", "/v1/messages"),
        Side("bare Flask, one INSERT, no validation", "references:bare()", "/rows"),
        Side("flask-smorest, validation, one ORM insert", "references:validating()", "/rows"),
        Side(f"POST /v1/messages/batch of {BATCH}", "wsgi:application", "/v1/messages/batch", size=BATCH),
    ]
    with ExitStack() as stack:
        place, database = stack.enter_context(stage.folder()), stack.enter_context(stage.postgres())
        variables = stage.environment(database)
        api_key = stage.prepare(place, variables)
        stage.execute(database, references.TABLE)
        for side in sides:
            start(stack, side, place, variables)
        measure(sides, api_key, requests, rounds)
        accepted = stage.count_by_status(database)
        report(sides)
        expected = sides[0].messages + sides[-1].messages
        assert sum(accepted.values()) == expected, f"{expected} were accepted and the database has {accepted}"
        print(f"{expected} messages accepted, {sum(accepted.values())} in the database")


if __name__ == "__main__":
    main()
