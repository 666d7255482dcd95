"""Thousands of messages through the whole topology while processes and servers are killed at random; then it counts.

make chaos    or    .venv/bin/python bench/chaos.py [--messages 10000]

PostgreSQL and Redis are of this run's own, for they are killed too. Exit code 1 when a message was lost or came more
often than is allowed: once more for each process that died while its outcome was not written, and once more for each
reply that was lost after the final dot.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import SystemRandom
from typing import Any

import figures
import processes
import stage

sys.path.insert(0, str(stage.ROOT))

import psycopg

from tests.journeys.private_servers import private_postgres, private_redis
from tests.journeys.processes import wait_until
from tests.journeys.sink import Moment, TakenAndSilent, usual
from tests.journeys.town import Tally, Town, find_family, open_town
from tests.wire.steps import Drop, Reply, Step

LEASE_SECONDS = 10
OUTAGE_SECONDS = 1.0  # a lease has to outlast an outage of the database, as with the default of 180 seconds
FEEDERS = 4
PATIENCE_SECONDS = 900
_chance = SystemRandom()


@dataclass
class Chaos:
    """The faults of one run, and what they allow."""

    town: Town
    kinds: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)  # copies beyond the first, by Message-ID
    accepted: list[dict[str, Any]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def strike(self) -> None:
        """One fault of any kind."""
        faults: dict[str, tuple[int, Callable[[], None]]] = {
            "kill -9 of a worker": (6, self.kill_worker),
            "SIGTERM to a worker": (2, self.stop_worker),
            "kill -9 of a web process": (4, self.kill_web),
            "kill -9 of all of web": (1, self.kill_all_of_web),
            "kill -9 of beat": (2, self.kill_beat),
            "kill -9 of Redis": (2, self.kill_redis),
            "FLUSHALL": (1, self.flush),
            "kill -9 of PostgreSQL": (2, self.kill_postgres),
            "all connections to PostgreSQL ended": (2, lambda: self.town.postgres.throw_out(-1)),
            "all connections of the mail server reset": (3, self.hang_up),
        }
        names, weights = list(faults), [weight for weight, _ in faults.values()]
        [name] = _chance.choices(names, weights)
        faults[name][1]()
        self.kinds[name] += 1

    def kill_worker(self) -> None:
        process = self.town.running[_chance.choice(["worker-1", "worker-2"])]
        process.kill()
        # A commit that is on its way may still arrive, so this allows one copy too many at most, never one too few.
        self.allow("SELECT message_id_header FROM messages WHERE status = 'sending'")

    def stop_worker(self) -> None:
        process = self.town.running[_chance.choice(["worker-1", "worker-2"])]
        process.popen.send_signal(signal.SIGTERM)

    def kill_web(self) -> None:
        children = find_family(self.town.running["web"])[1:]
        if children:
            with suppress(ProcessLookupError):
                os.kill(_chance.choice(children), signal.SIGKILL)

    def kill_all_of_web(self) -> None:
        self.town.running["web"].kill()

    def kill_beat(self) -> None:
        self.town.running["beat"].kill()

    def kill_redis(self) -> None:
        assert self.town.redis
        self.town.redis.kill()
        time.sleep(_chance.uniform(0, 3))
        self.town.redis.start()

    def flush(self) -> None:
        assert self.town.redis
        with self.town.redis.client() as client:
            client.flushall()

    def kill_postgres(self) -> None:
        self.town.postgres.kill()
        time.sleep(_chance.uniform(0, OUTAGE_SECONDS))
        self.town.postgres.start()

    def hang_up(self) -> None:
        # Whoever waits for the reply to a final dot does not hear it any more.
        self.allow("SELECT message_id_header FROM messages WHERE status = 'sending'")
        self.town.sink.hang_up()
        self.allow("SELECT message_id_header FROM messages WHERE status = 'sending'", is_new_only=True)

    def allow(self, query: str, *, is_new_only: bool = False) -> None:
        """One more copy of each of these."""
        with suppress(psycopg.Error):
            found = {message_id for (message_id,) in self.town.rows(query)}
            self.allowed.update(each for each in found if not (is_new_only and self.allowed[each]))

    def rule(self, moment: Moment) -> Step | None:
        """A mail server that is unreliable by itself, too."""
        dice = _chance.random()
        if moment.phase == "final" and moment.copy == 1 and dice < 0.002:
            self.allowed[moment.message_id] += 1
            self.kinds["replies lost after the final dot"] += 1
            return TakenAndSilent()
        if moment.phase in {"banner", "mail", "rcpt", "data"} and dice < 0.001:
            self.kinds["lines dropped before the content"] += 1
            return Drop()
        if moment.phase == "rcpt" and dice < 0.01:
            self.kinds["replies of 451"] += 1
            return Reply("451 4.7.1 come back")
        return None

    def feed(self, count: int, feeder: int, pause_seconds: float) -> None:
        """One caller: some messages alone, most in batches, and each until it is answered."""
        try:
            sent = 0
            while sent < count:
                size = min(_chance.choice([1, 1, 20, 50]), count - sent)
                name = f"chaos-{feeder}-{sent}"
                self.accepted += (
                    [self.town.send(f"{name}@example.com")] if size == 1 else self.town.send_batch(size, name)
                )
                sent += size
                time.sleep(size * pause_seconds)
        except BaseException as error:  # raised again: a caller that gives up is told of at the end
            self.errors.append(error)
            raise


def run(town: Town, count: int, rate: float) -> tuple[Chaos, float]:
    """Feed, strike and revive until all is over; the faults, and how long it took."""
    chaos = Chaos(town)
    town.web()
    town.sink.rule = chaos.rule
    begun_at = time.monotonic()
    pause_seconds = FEEDERS / rate
    feeders = [
        threading.Thread(target=chaos.feed, args=[count // FEEDERS, number, pause_seconds], daemon=True)
        for number in range(FEEDERS)
    ]
    for feeder in feeders:
        feeder.start()
    told_at = 0.0
    while any(feeder.is_alive() for feeder in feeders):
        time.sleep(_chance.uniform(0.5, 2.5))
        chaos.strike()
        # The main thread lasts: what a thread that ends has started would end with it.
        town.revive()
        if time.monotonic() - told_at > 5:
            told_at = time.monotonic()
            faults = chaos.kinds.total()
            figures.tell(
                f"{len(chaos.accepted)} of {count} accepted, {len(town.sink.taken())} delivered, {faults} faults"
            )
    town.sink.rule = usual
    until = time.monotonic() + PATIENCE_SECONDS
    while (waiting := town.open_count()) and time.monotonic() < until:
        figures.tell(f"{waiting} messages wait for their next try")
        town.revive()
        time.sleep(2)
        # What is in doubt is tried again after five minutes, which nobody needs to sit through.
        town.rows("UPDATE messages SET due_at = now() WHERE status = 'uncertain' AND due_at > now() RETURNING id")
    figures.clear()
    return chaos, time.monotonic() - begun_at


def tell(tally: Tally, chaos: Chaos, beyond: int, seconds: float) -> None:
    """The table of docs/benchmarks.md."""
    kinds = "; ".join(f"{count} x {name}" for name, count in chaos.kinds.most_common())
    rows = {
        "accepted": f"{tally.accepted:,}",
        "delivered": f"{tally.delivered:,}",
        "ended without being sent": f"{tally.unsent:,}",
        "lost": f"{tally.lost:,}",
        "delivered more than once": f"{tally.duplicated:,}",
        "of these beyond what was allowed": f"{beyond:,}",
        "most copies of one Message-ID": f"{tally.most:,}",
        "duration": f"{seconds:.0f} s",
        "faults": kinds,
    }
    print("| chaos | in this run |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=60.0, help="messages a second that the callers together offer")
    options = parser.parse_args()
    processes.end_politely_when_told()
    figures.introduce(f"chaos: {options.messages} messages while everything is killed at random")
    with stage.folder() as place, private_postgres() as postgres, private_redis() as redis:
        settings = {"DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS), "LOG_LEVEL": "WARNING"}
        with open_town(place, postgres, redis, **settings) as town:
            chaos, seconds = run(town, options.messages, options.rate)
            wait_until(town.postgres.answers, 60)
            tally, taken = town.tally(chaos.accepted), town.sink.taken()
            beyond = sum(len(copies) - 1 > chaos.allowed[message_id] for message_id, copies in taken.items())
            changed = sum(len({copy.digest for copy in copies}) > 1 for copies in taken.values())
            tell(tally, chaos, beyond, seconds)
            _tell_tracebacks(town)
    for error in chaos.errors:
        print(f"A caller gave up: {error!r}", file=sys.stderr)
    is_well = not (tally.lost or beyond or changed or chaos.errors) and tally.accepted == options.messages
    sys.exit(0 if is_well else 1)


def _tell_tracebacks(town: Town) -> None:
    """Which events came with one, and how it ended: those of a broker that is away are Celery's own."""
    found = Counter[str]()
    for line in town.house.logs().splitlines():
        if "Traceback" in line:
            with suppress(json.JSONDecodeError):
                told = json.loads(line)
                found[f"{told['event'][:60]}: {told.get('exception', '').strip().splitlines()[-1][:200]}"] += 1
    for event, count in found.most_common(10):
        print(f"{count} x {event}", file=sys.stderr)


if __name__ == "__main__":
    main()
