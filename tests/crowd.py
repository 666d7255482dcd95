"""Sixty-four callers who begin at the same moment, in two processes with an application and 32 threads each.

The processes, their threads and their connections live as long as the crowd, so that a round costs little more than its
calls. Knows no pytest, and refuses to know what the callers do.
"""

import multiprocessing
import os
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import make_url

from email_service import extensions
from email_service.kernel import derivation, logs
from tests.applications import House, opened

ROUNDS = int(os.environ.get("RACE_ROUNDS", "10"))  # `make races` runs 200 of each
PROCESSES, THREADS = 2, 32
CALLERS = PROCESSES * THREADS
START_SECONDS, ROUND_SECONDS, STOP_SECONDS = 60, 60, 10
# 64 guesses at a code would take two cores more than a second, for nothing that a race could show. At a sixteenth of
# its cost a guess still takes longer than the statements around it, which is what lets a race be lost.
CHEAP_SCRYPT_COST = 2**10
# With which nobody calls too often, neither here nor in the processes.
UNLIMITED = dict.fromkeys(("API_RATE_LIMIT", "PUBLIC_RATE_LIMIT", "PUBLIC_REDEEM_FAILURE_LIMIT"), "1000000/minute")
# What is left of the server's connections for others, and with how few of its own a process still makes a race.
SPARE_CONNECTIONS, FEWEST_CONNECTIONS = 8, 4
# Between the last arrival and the start: time enough for 64 threads to be woken.
AGREED_SECONDS = 0.01
_CHANCE = secrets.SystemRandom()

Call = Callable[[House], Any]
Gate = tuple[Barrier, "Synchronized[float]"]  # that the last one opens, and the instant at which all then begin


@dataclass(frozen=True, slots=True)
class Place:
    """What the application of a process is opened with."""

    database_url: str
    connections: int


@dataclass(frozen=True, slots=True)
class Run:
    """One call as its process saw it, by the clock that all processes of a machine share."""

    process: int
    answer: Any
    began_at: float
    ended_at: float


@dataclass(slots=True)
class Tally:
    """How many rounds there were, and how much of them happened at the same time."""

    connections: int
    rounds: int = 0
    overlapping: int = 0  # rounds in which calls of both processes were under way at the same moment
    peaks: list[int] = field(default_factory=list)  # of each round: how many calls were under way at once
    outcomes: Counter[str] = field(default_factory=Counter)  # what tests counted of how the rounds ended
    seconds: float = 0.0

    def add(self, runs: Sequence[Run], seconds: float) -> None:
        """One round more, which took so long."""
        under_way = [0] * PROCESSES
        peak, is_overlapping = 0, False
        # At the same instant, an end comes before a beginning: what only touches does not overlap.
        steps = [(run.began_at, 1, run.process) for run in runs] + [(run.ended_at, -1, run.process) for run in runs]
        for _, step, process in sorted(steps):
            under_way[process] += step
            peak = max(peak, sum(under_way))
            is_overlapping = is_overlapping or all(under_way)
        self.rounds += 1
        self.overlapping += is_overlapping
        self.peaks.append(peak)
        self.seconds += seconds

    @property
    def peak(self) -> int:
        """How many calls were under way at once, in the median round."""
        return sorted(self.peaks)[len(self.peaks) // 2] if self.peaks else 0

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {PROCESSES} processes, {CALLERS} threads, {self.connections} connections,"
            f" {self.seconds:.1f} s: both processes at once in {self.overlapping}, {self.peak} calls at once at the"
            f" median and {min(self.peaks, default=0)} at least; {dict(self.outcomes)}"
        )


class Crowd:
    """The processes as a test sees them: it hands out 64 calls and gets 64 answers."""

    def __init__(self, pipes: Sequence[Connection], place: Place) -> None:
        self._pipes, self._place = pipes, place
        self.begin()

    def begin(self) -> None:
        """Count anew, for another test."""
        self.tally = Tally(connections=PROCESSES * self._place.connections)

    def race(self, calls: Sequence[Call]) -> list[Any]:
        """What each call returned, in their order, after all have begun at once; an error of any fails the test.

        Each is pickled: a function of an importable module, or a `functools.partial` of one. Chance decides in which
        process and in which order they run.
        """
        assert len(calls) == CALLERS
        begun_at = time.monotonic()
        # Threads wake in the order in which they fell asleep: no kind of call may always be the first.
        order = _CHANCE.sample(range(CALLERS), CALLERS)
        parts = [order[number::PROCESSES] for number in range(PROCESSES)]
        for pipe, part in zip(self._pipes, parts, strict=True):
            pipe.send([calls[place] for place in part])
        runs: dict[int, Run] = {}
        # All are heard before one may fail the test, or the next test would get what was meant for this one.
        for part, told in zip(parts, [_receive(pipe, ROUND_SECONDS) for pipe in self._pipes], strict=True):
            assert not isinstance(told, str), told
            runs.update(zip(part, told, strict=True))
        self.tally.add(list(runs.values()), time.monotonic() - begun_at)
        return [runs[place].answer for place in range(CALLERS)]


@contextmanager
def gathered(house: House) -> Iterator[Crowd]:
    """A crowd with applications on the database of this house; none of it outlives the block."""
    url = make_url(house.app.config["SQLALCHEMY_DATABASE_URI"])
    # Who sees what when is the same; only a disk, for which all would wait in turn, is not waited for.
    url = url.update_query_dict({"options": "-c synchronous_commit=off"})
    place = Place(url.render_as_string(hide_password=False), _find_room(house))
    context = multiprocessing.get_context("spawn")
    start_at = context.Value("d", 0.0)
    barrier = context.Barrier(CALLERS, partial(_agree, start_at), timeout=ROUND_SECONDS)
    ends = [context.Pipe() for _ in range(PROCESSES)]
    processes = [
        context.Process(target=_attend, args=(number, end, (barrier, start_at), place), daemon=True)
        for number, (_, end) in enumerate(ends)
    ]
    pipes = [pipe for pipe, _ in ends]
    try:
        for process in processes:
            process.start()
        for _, end in ends:
            end.close()  # ours: once theirs is closed too, nobody waits for an answer in vain
        for pipe in pipes:
            _receive(pipe, START_SECONDS)
        yield Crowd(pipes, place)
    finally:
        _dismiss(pipes, processes)


def _dismiss(pipes: Sequence[Connection], processes: Sequence[SpawnProcess]) -> None:
    for pipe in pipes:
        pipe.close()
    for process in [each for each in processes if each.pid is not None]:
        process.join(STOP_SECONDS)
        process.kill()
        process.join()


def _receive(pipe: Connection, seconds: float) -> list[Run] | str:
    assert pipe.poll(seconds), f"A process of the crowd said nothing for {seconds} seconds."
    return pipe.recv()


def _find_room(house: House) -> int:
    """How many connections each process may keep: one for each thread, unless the server has others to serve."""
    [(free,)] = house.execute(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - count(datid) FROM pg_stat_activity"
    )
    room = min(THREADS, (free - SPARE_CONNECTIONS) // PROCESSES)
    assert room >= FEWEST_CONNECTIONS, f"PostgreSQL has {free} connections left, too few for a race."
    return room


def _connect(house: House, connections: int) -> None:
    """Open all connections now and keep them; a web process keeps five and opens as many more as it has threads."""
    with house.app.app_context():
        engine = extensions.db.engine
    engine.pool._pool.maxsize, engine.pool._max_overflow = connections, 0
    engine.pool = engine.pool.recreate()
    for connection in [engine.pool.connect() for _ in range(connections)]:
        connection.close()


def _agree(start_at: "Synchronized[float]") -> None:
    start_at.value = time.monotonic() + AGREED_SECONDS


def _attend(number: int, pipe: Connection, gate: Gate, place: Place) -> None:
    """What a process does all its life: take calls, make each in a thread of its own, tell what they came to."""
    logs.configure(level="ERROR", is_human=False)
    derivation._SCRYPT["n"] = CHEAP_SCRYPT_COST
    with opened(place.database_url, **UNLIMITED) as house, ThreadPoolExecutor(THREADS) as pool:
        _connect(house, place.connections)
        pipe.send([])
        while (calls := _take(pipe)) is not None:
            begun = [pool.submit(_begin, number, gate, call, house) for call in calls]
            pipe.send(_outcome(begun))


def _take(pipe: Connection) -> list[Call] | None:
    """The next calls; None when the test is over, or gone."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        return None


def _begin(number: int, gate: Gate, call: Call, house: House) -> Run:
    barrier, start_at = gate
    barrier.wait()
    # A barrier lets them go one by one, and the first would be through before the last begins.
    time.sleep(max(0.0, start_at.value - time.monotonic()))
    began_at = time.monotonic()
    answer = call(house)
    return Run(number, answer, began_at, time.monotonic())


def _outcome(begun: Sequence[Future[Run]]) -> list[Run] | str:
    """What all calls came to, or the traceback of one that failed."""
    for error in [each.exception(ROUND_SECONDS) for each in begun]:
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            return "".join(traceback.format_exception(error))
    return [each.result() for each in begun]
