"""How fast tokens are verified, redeemed, asked for and refreshed on PostgreSQL, beside bare Flask views.

.venv/bin/python bench/tokens.py [--quick] [--part verify|consume|ask|refresh|growth ...]
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import figures
import load
import processes
import stage
import token_rows
from sqlalchemy import Engine, text

from email_service.kernel import orm
from email_service.tokens import redemption
from email_service.tokens.purposes import Purpose
from email_service.tokens.redemption import Presented

PARTS = ("verify", "consume", "ask", "refresh", "growth")
MARKS = {"verify": 0.7, "consume": 0.7, "ask": 0.6, "refresh": 0.5}
WORKERS, THREADS, CONNECTIONS = 2, 8, 16
LOOKED_AT = 1000  # tokens that are verified again and again
SIZES, QUICK_SIZES, MOST_SIZE = (10_000, 1_000_000), (2_000, 50_000), 5_000_000
MOST_TIMES = 1.3
_ENOUGH = "1000000/second"
# So that nothing is refused. A proxy tells of another address with each request: lists of hits are as short as in life.
_QUOTAS = {
    "PUBLIC_RATE_LIMIT": _ENOUGH,
    "PUBLIC_ISSUE_LIMIT_PER_IP": _ENOUGH,
    "PUBLIC_ISSUE_LIMIT_PER_EMAIL": _ENOUGH,
    "PUBLIC_REDEEM_FAILURE_LIMIT": _ENOUGH,
    "TRUSTED_PROXY_COUNT": "1",
}


@dataclass(frozen=True)
class House:
    """The service and the references behind their gunicorns, on one database."""

    database: str
    api_key: str
    ours: tuple[int, int]  # port and process
    bare: tuple[int, int]


@dataclass
class Side:
    """One call of one application, and what was measured of it."""

    name: str
    server: tuple[int, int]
    path: str
    body: Callable[[int], dict[str, str]]  # of the nth request ever made of this side
    headers: dict[str, Any] = field(default_factory=dict)  # as `load.post` takes them
    status: int = 200
    made: int = 0  # requests, warming up included
    rates: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)
    generator_shares: list[float] = field(default_factory=list)  # of one core
    latencies: list[float] = field(default_factory=list)

    def measure(self, requests: int) -> None:
        (port, pid), numbers = self.server, range(self.made, self.made + requests)
        self.made += requests
        job = {"port": port, "path": self.path, "status": self.status, "connections": CONNECTIONS, **self.headers}
        cpu_before = processes.cpu_seconds(pid)
        seen = load.post(requests=requests, bodies=[json.dumps(self.body(number)) for number in numbers], **job)
        self.rates.append(requests / seen["seconds"])
        self.cpu_milliseconds.append((processes.cpu_seconds(pid) - cpu_before) / requests * 1000)
        self.generator_shares.append(seen["cpu_seconds"] / seen["seconds"])
        self.latencies += seen["latencies"]

    def forget(self) -> None:
        for each in (self.rates, self.cpu_milliseconds, self.generator_shares, self.latencies):
            each.clear()

    def report(self) -> None:
        p50, p99 = (figures.percentile(self.latencies, share) * 1000 for share in (0.5, 0.99))
        rate, cpu = figures.with_spread(self.rates, "/s"), figures.with_spread(self.cpu_milliseconds, " ms")
        print(f"{self.name:38} {rate:22} p50 {p50:5.1f} ms  p99 {p99:5.1f} ms  web CPU {cpu} a request")


def take_turns(title: str, sides: Sequence[Side], requests: int, rounds: int, warm_up: int) -> None:
    """Rounds of all sides, interleaved, after a warm-up that is forgotten; then what was measured of each."""
    for side in sides:
        figures.tell(f"{title}, warming up: {side.name}")
        side.measure(warm_up)
        side.forget()
    for number in range(1, rounds + 1):
        # Every other round goes the other way, so that no side always follows the same neighbour.
        for side in sides if number % 2 else reversed(sides):
            side.measure(requests)
            figures.tell(f"{title}, round {number} of {rounds}: {side.name}, {side.rates[-1]:.0f}/s")
    figures.clear()
    print()
    for side in sides:
        side.report()


def compare(part: str, sides: Sequence[Side], requests: int, rounds: int) -> None:
    """The last side is the reference."""
    take_turns(part, sides, requests, rounds, _warm_up(requests))
    *ours, bare = sides
    for side in ours:
        print(f"{side.path}: ", end="")
        figures.demand(side.rates, bare.rates, bare.name, MARKS[part])
        print(f"{side.path}: {figures.ratios(bare.cpu_milliseconds, side.cpu_milliseconds)} in web CPU", flush=True)


def verify(house: House, requests: int, rounds: int) -> None:
    """A thousand tokens, looked at again and again."""
    token_rows.fill(house.database, token_rows.TOKENS, "verify", LOOKED_AT)
    token_rows.fill(house.database, token_rows.PLAIN_TOKENS, "verify", LOOKED_AT)
    sides = _redeemers(house, "verify", lambda _side, number: token_rows.token("verify", number % LOOKED_AT))
    sides[-1].name = "bare Flask, one indexed SELECT"
    compare("verify", sides, requests, rounds)


def consume(house: House, requests: int, rounds: int) -> None:
    """Each token once."""
    count = _warm_up(requests) + requests * rounds
    token_rows.fill(house.database, token_rows.TOKENS, "public", count)
    token_rows.fill(house.database, token_rows.TOKENS, "internal", count)
    token_rows.fill(house.database, token_rows.PLAIN_TOKENS, "bare", count)
    sides = _redeemers(house, "consume", token_rows.token)
    sides[-1].name = "bare Flask, one conditional UPDATE"
    compare("consume", sides, requests, rounds)
    _expect(house, 2 * count, "SELECT count(*) FROM audit_events WHERE name = 'token.consumed'")


def ask(house: House, requests: int, rounds: int) -> None:
    """Each address once."""

    def wish(number: int) -> dict[str, str]:
        return {"purpose": token_rows.PURPOSE, "email": token_rows.address("reader", number)}

    forwarded = {"is_forwarded": True}
    sides = [
        Side("POST /public/v1/tokens", house.ours, "/public/v1/tokens", wish, forwarded, status=202),
        Side("bare Flask, one INSERT", house.bare, "/ask", wish, forwarded, status=202),
    ]
    compare("ask", sides, requests, rounds)
    _expect(house, sides[0].made, "SELECT count(*) FROM token_requests")


def refresh(house: House, requests: int, rounds: int) -> None:
    """Each session once, and each has an account that is asked for."""
    count = _warm_up(requests) + requests * rounds
    token_rows.fill(house.database, token_rows.SESSIONS, "session", count)
    token_rows.fill(house.database, token_rows.PLAIN_TOKENS, "session", count)

    def presented(number: int) -> dict[str, str]:
        return {"refresh_token": token_rows.token("session", number)}

    path, forwarded = "/public/v1/sessions/refresh", {"is_forwarded": True}
    sides = [
        Side(f"POST {path}", house.ours, path, presented, forwarded),
        Side("bare Flask, one UPDATE and one ES256", house.bare, "/refresh", presented, forwarded),
    ]
    compare("refresh", sides, requests, rounds)
    _expect(house, count, "SELECT count(*) FROM refresh_tokens WHERE parent_id IS NOT NULL")


def growth(sizes: Sequence[int], rounds: int, repeats: int) -> None:
    """What verifying costs with more and more rows, most of them redeemed; each size has a database of its own."""
    with ExitStack() as stack:
        engines = [_grown(stack, size) for size in sizes]
        medians: list[list[float]] = [[] for _ in sizes]
        for number in range(rounds + 1):
            spent: list[list[float]] = [[] for _ in sizes]
            for each in range(repeats):
                for place in sorted(range(len(sizes)), reverse=bool(each % 2)):
                    spent[place].append(_look(engines[place], (number * repeats + each) * 7919 % sizes[place]))
            for place, values in enumerate(spent if number else []):  # the first round only fills the caches
                medians[place].append(figures.median(values))
            figures.tell(f"growth, round {number} of {rounds}")
    figures.clear()
    print()
    for size, values in zip(sizes, medians, strict=True):
        print(f"verify among {size:>9,} tokens: {figures.with_spread(values, ' ms')}")
    times = figures.median([last / first for first, last in zip(medians[0], medians[-1], strict=True)])
    verdict = "kept" if times <= MOST_TIMES else "BROKEN"
    print(f"{sizes[-1]:,} by {sizes[0]:,}: {figures.ratios(medians[-1], medians[0])}; at most {MOST_TIMES}: {verdict}")


def _grown(stack: ExitStack, size: int) -> Engine:
    place, database = stack.enter_context(stage.folder()), stack.enter_context(stage.postgres())
    stage.prepare(place, stage.environment(database))
    token_rows.fill(database, token_rows.TOKENS, "many", size, token_rows.LIVE_EVERY)
    engine = orm.open_engine(database)
    stack.callback(engine.dispose)
    return orm.autocommitting(engine)


def _look(engine: Engine, number: int) -> float:
    """Milliseconds; the number is brought to that of a token that can be redeemed."""
    live = number - number % token_rows.LIVE_EVERY
    presented = Presented(purpose=Purpose(token_rows.PURPOSE), token=token_rows.token("many", live))
    begun_at = time.perf_counter()
    with engine.connect() as connection:
        redemption.find(connection, presented)
    return (time.perf_counter() - begun_at) * 1000


def _redeemers(house: House, act: str, token: Callable[[str, int], str]) -> list[Side]:
    """The public call, the internal one and the reference's; each presents its own tokens."""

    def body(kind: str, number: int) -> dict[str, str]:
        return {"purpose": token_rows.PURPOSE, "token": token(kind, number)}

    forwarded, key = {"is_forwarded": True}, {"is_forwarded": True, "api_key": house.api_key}
    public, internal = f"/public/v1/tokens/{act}", f"/v1/tokens/{act}"
    return [
        Side(f"POST {public}", house.ours, public, partial(body, "public"), forwarded),
        Side(f"POST {internal}", house.ours, internal, partial(body, "internal"), key),
        Side("", house.bare, f"/{act}", partial(body, "bare"), forwarded),
    ]


def _expect(house: House, count: int, question: str) -> None:
    """What was answered for has to be in the database."""
    engine = orm.open_engine(house.database)
    with engine.connect() as connection:
        found = connection.execute(text(question)).scalar_one()
    engine.dispose()
    assert found == count, f"{count} were answered for and the database has {found}"


def _warm_up(requests: int) -> int:
    return max(100, requests // 10)


def open_house(stack: ExitStack, place: Path, redis_url: str | None) -> House:
    """A new database, and both applications serving it."""
    database = stack.enter_context(stage.postgres())
    variables = stage.environment(database, **quotas(redis_url))
    api_key = stage.prepare(place, variables)
    for statement in token_rows.REFERENCES:
        stage.execute(database, statement)
    ours, bare = (serve(stack, each, place, variables) for each in ("wsgi:application", "token_views:bare()"))
    return House(database, api_key, ours, bare)


def quotas(redis_url: str | None) -> dict[str, str]:
    """Settings with which nothing is refused, although everything is counted."""
    return {**_QUOTAS, "REDIS_URL": redis_url} if redis_url else _QUOTAS


def serve(
    stack: ExitStack, application: str, place: Path, variables: dict[str, str], threads: int = THREADS
) -> tuple[int, int]:
    """Port and process of its gunicorn, which ends with the stack."""
    port = processes.free_port()
    command = stage.gunicorn_command(application, port, workers=WORKERS, threads=threads)
    process = stack.enter_context(processes.running(command, folder=place, environment=variables))
    processes.wait_for_port(port, process)
    return port, process.pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    parser.add_argument("--requests", type=int, default=1000, help="requests in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (%(default)s)")
    parser.add_argument("--sizes", help=f"numbers of tokens for growth, separated by commas; up to {MOST_SIZE}")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be given more than once")
    options = parser.parse_args()
    requests, rounds = (200, 2) if options.quick else (options.requests, options.rounds)
    sizes = tuple(map(int, options.sizes.split(","))) if options.sizes else QUICK_SIZES if options.quick else SIZES
    if max(sizes) > MOST_SIZE:
        parser.error(f"a table of more than {MOST_SIZE} tokens takes too long to make")
    parts = options.part or PARTS
    processes.end_politely_when_told()
    figures.introduce(f"tokens: {rounds} rounds of {requests} requests over {CONNECTIONS} connections a side")
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        redis_url = stack.enter_context(stage.redis_if_any())
        house = open_house(stack, place, redis_url)
        for part in parts:
            if part != "growth":
                {"verify": verify, "consume": consume, "ask": ask, "refresh": refresh}[part](house, requests, rounds)
    if "growth" in parts:
        growth(sizes, rounds, requests)


if __name__ == "__main__":
    main()
