"""How fast queued messages reach a mail server on this machine, beside django-post-office, nodemailer and Flask-Mail.

.venv/bin/python bench/deliver.py [--quick] [--part loopback|slow|wide|embedded ...]
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import figures
import fleet
import processes
import rivals
import sink
import stage

PARTS = ("loopback", "slow", "wide", "embedded")
DELAY_SECONDS = 0.05
_TUNING = 2000


@dataclass
class Side:
    """One way to deliver, and what was measured of it."""

    rival: rivals.Rival
    runs: list[rivals.Run] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [run.rate for run in self.runs]

    @property
    def cpu_milliseconds(self) -> list[float]:
        return [run.cpu_milliseconds for run in self.runs]

    def report(self) -> None:
        taken = self.runs[-1].taken
        rate, cpu = figures.with_spread(self.rates, "/s"), figures.with_spread(self.cpu_milliseconds, " ms")
        octets, trips = taken["octets"] / taken["messages"], taken["groups"] / taken["messages"]
        print(f"{self.rival.name:52} {rate:24} CPU {cpu} a message, {octets:.0f} octets each, {trips:.2f} waits each")


@dataclass
class Bench:
    """What all parts share."""

    place: Path
    server: sink.Handle
    count: int
    rounds: int
    is_quick: bool

    def compare(self, rivals_: Sequence[rivals.Rival]) -> list[Side]:
        """Rounds of all sides, interleaved; the first side is ours."""
        sides, cpu_before = [Side(rival) for rival in rivals_], self.server.cpu_seconds()
        for number in range(1, self.rounds + 1):
            for side in sides:
                side.runs.append(side.rival.deliver(self.server, self.count))
                figures.tell(f"round {number} of {self.rounds}: {side.rival.name}, {side.rates[-1]:.0f}/s")
        figures.clear()
        for side in sides:
            side.report()
        delivered = self.rounds * self.count
        each = (self.server.cpu_seconds() - cpu_before) / delivered / len(sides) * 1e6
        print(
            f"{delivered} messages a side: as many Message-IDs at the server as accepted, none twice, all `sent`; ",
            end="",
        )
        print(f"the sink used {each:.0f} microseconds of CPU a message", flush=True)
        return sides

    def loopback(self, ours: fleet.Fleet, office: rivals.PostOffice, pool: rivals.Nodemailer) -> None:
        print(f"\nA mail server on loopback, {self.count} messages a round, 32 connections")
        if not self.is_quick:
            self.tune_office(office)
            self.tune_pool(pool)
        service, office_side, pool_side = self.compare([ours, office, pool])
        figures.demand(service.rates, office_side.rates, office.name, 6)
        figures.demand(service.rates, pool_side.rates, pool.name, 1.5)

    def slow(self, ours: fleet.Fleet, pool: rivals.Nodemailer) -> None:
        print(f"\nEach reply {DELAY_SECONDS * 1000:.0f} ms late, {self.count} messages a round, 32 connections")
        self.server.ask(f"delay {DELAY_SECONDS}")
        service, pool_side = self.compare([ours, pool])
        self.server.ask("delay 0")
        figures.demand(service.rates, pool_side.rates, pool.name, 1.8)
        self.tell_limit(service, 32)

    def wide(self, ours: fleet.Fleet) -> None:
        """The CPU's limit is what the same processes with the same connections do when replies take no time."""
        print(f"\n128 connections, {self.count} messages a round, without delay and with {DELAY_SECONDS * 1000:.0f} ms")
        ours.connections = 64
        (at_once,) = self.compare([ours])
        self.server.ask(f"delay {DELAY_SECONDS}")
        (late,) = self.compare([ours])
        self.server.ask("delay 0")
        wire, cpu = self.tell_limit(late, 128), figures.median(at_once.rates)
        which = "the wire's" if wire < cpu else "the CPU's"
        print(f"the CPU's limit is {cpu:.0f}/s; the lower one is {which}")
        figures.demand(late.rates, [min(wire, cpu)] * self.rounds, f"{which} limit", 0.85)

    def embedded(self, ours: fleet.Single, loop: rivals.FlaskMail) -> None:
        print(f"\nOne process on SQLite with four connections, {self.count} messages a round")
        service, naive = self.compare([ours, loop])
        print(f"ratio to {loop.name}: {figures.ratios(service.rates, naive.rates)}", flush=True)

    def tell_limit(self, side: Side, connections: int) -> float:
        """One wait a message is the least there is, once the next envelope travels behind this content."""
        limit = connections / DELAY_SECONDS
        share = figures.median(side.rates) / limit
        print(
            f"the wire's limit is {limit:.0f}/s, one wait a message over {connections} connections; {share:.2f} of it"
        )
        return limit

    def tune_office(self, office: rivals.PostOffice) -> None:
        """Processes and threads first, then the size of a batch."""
        settings = [(number, threads, 1000) for number in (1, 2, 4) for threads in (4, 8, 16, 32)]
        best = max(settings, key=lambda each: self.try_office(office, each))
        batches = [(*best[:2], size) for size in (250, 1000, _TUNING, self.count)]
        best = max(batches, key=lambda each: self.try_office(office, each))
        office.processes, office.threads, office.batch_size = best
        figures.clear()
        print(f"the best of {len(settings) + len(batches)} settings: {office.name}")

    def try_office(self, office: rivals.PostOffice, setting: tuple[int, int, int]) -> float:
        office.processes, office.threads, office.batch_size = setting
        rate = office.deliver(self.server, _TUNING).rate
        figures.tell(f"tuning: {office.name}: {rate:.0f}/s")
        return rate

    def tune_pool(self, pool: rivals.Nodemailer) -> None:
        rates = {}
        for pool.processes in (1, 2):
            rates[pool.processes] = pool.deliver(self.server, 2 * _TUNING).rate
            figures.tell(f"tuning: {pool.name}: {rates[pool.processes]:.0f}/s")
        pool.processes = max(rates, key=lambda number: rates[number])
        figures.clear()
        print(f"the better of 1 and 2 processes: {pool.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    parser.add_argument("--messages", type=int, default=10_000, help="messages a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (%(default)s)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be given more than once")
    options = parser.parse_args()
    count, rounds = (500, 1) if options.quick else (options.messages, options.rounds)
    parts = options.part or PARTS
    processes.end_politely_when_told()
    figures.introduce(f"deliver: {rounds} rounds of {count} messages a side, interleaved, to a sink on loopback")
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        server = stack.enter_context(sink.running(place))
        bench = Bench(place, server, count, rounds, options.quick)
        if set(parts) & {"loopback", "slow", "wide"}:
            database, broker = stack.enter_context(stage.postgres()), stack.enter_context(stage.redis())
            ours = fleet.Fleet(fleet.Installation(place, database, server, {"CELERY_BROKER_URL": broker}))
        if set(parts) & {"loopback", "slow"}:
            pool = rivals.Nodemailer(place)
        if "loopback" in parts:
            bench.loopback(ours, rivals.PostOffice(place, stack.enter_context(stage.postgres())), pool)
        if "slow" in parts:
            bench.slow(ours, pool)
        if "wide" in parts:
            bench.wide(ours)
        if "embedded" in parts:
            house = fleet.Installation(place, stage.sqlite(place), server)
            bench.embedded(fleet.Single(house), rivals.FlaskMail(place))


if __name__ == "__main__":
    main()
