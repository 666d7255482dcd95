"""Asking for a password reset and redeeming its token, beside better-auth on Node with the same PostgreSQL.

.venv/bin/python bench/reset_flow.py [--quick] [--part request|reset ...]

Each side has two processes and does only its own part: what that is and what it is not, docs/benchmarks.md says.
"""

import argparse
import hashlib
import subprocess
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import figures
import processes
import rivals
import stage
import token_rows
import tokens
from sqlalchemy import make_url, text

from email_service.kernel import orm

PARTS = ("request", "reset")
MARK = 2.0
WORKERS, CONNECTIONS = tokens.WORKERS, tokens.CONNECTIONS
THREADS = 4  # of each process of ours: those that wait for PostgreSQL, and one that works
# V8 goes on compiling for thousands of requests, and a cold one costs it twice as much.
WARM_UP, QUICK_WARM_UP = 4000, 100
NEW_PASSWORD = "correct horse battery staple"
# A user as better-auth's own sign-up leaves it, and a token as its request leaves it; the steps are token_rows.fill's.
_USERS = """
INSERT INTO "user" (id, name, email, "emailVerified")
SELECT '{kind}-' || n, 'A Reader', '{kind}-' || n || '@example.com', true FROM generate_series({first}, {last}) AS n
"""
_CREDENTIALS = """
INSERT INTO account (id, "accountId", "providerId", "userId", password, "updatedAt")
SELECT 'a-{kind}-' || n, '{kind}-' || n, 'credential', '{kind}-' || n, 'the one before', now()
FROM generate_series({first}, {last}) AS n
"""
_VERIFICATIONS = f"""
INSERT INTO verification (id, identifier, value, "expiresAt")
SELECT 'v-{{kind}}-' || n, 'reset-password:' || lpad('{{kind}}-' || n, {len(token_rows.token("", 0))}, 'x'),
  '{{kind}}-' || n, now() + interval '1 day'
FROM generate_series({{first}}, {{last}}) AS n
"""


@dataclass(frozen=True)
class Plan:
    """How much of each side is measured."""

    requests: int
    rounds: int
    warm_up: int

    @property
    def total(self) -> int:
        return self.warm_up + self.requests * self.rounds


@dataclass(frozen=True)
class House:
    """Both services, each with the port and the process that it serves with, on one database."""

    database: str
    ours: tuple[int, int]
    better: tuple[int, int]
    better_name: str


@dataclass(kw_only=True)
class Side(tokens.Side):
    """One call of one service, what was measured of it, and what has to be in the database for it."""

    proofs: dict[str, str]  # questions that the database answers with the number of requests
    headers: dict[str, Any] = field(default_factory=lambda: {"is_forwarded": True})

    def report(self) -> None:
        p50, p99 = (figures.percentile(self.latencies, share) * 1000 for share in (0.5, 0.99))
        rate, cpu = figures.with_spread(self.rates, "/s"), figures.with_spread(self.cpu_milliseconds, " ms")
        generator = f"load generator {figures.median(self.generator_shares):.0%} of a core"
        print(f"{self.name:47} {rate:22} p50 {p50:5.1f} ms  p99 {p99:5.1f} ms  web CPU {cpu} a request  {generator}")

    def prove(self, database: str) -> None:
        """What was answered for has to be in the database."""
        engine = orm.open_engine(database)
        with engine.connect() as connection:
            for what, question in self.proofs.items():
                found = connection.execute(text(question)).scalar_one()
                assert found == self.made, f"{self.name}: {self.made} were answered for and there are {found} {what}"
        engine.dispose()
        print(f"{self.name}: {self.made:,} answered for, as many {' and '.join(self.proofs)}")


def compare(ours: Side, better: Side, plan: Plan) -> None:
    """Both in turns, and how many times as fast ours is."""
    tokens.take_turns("the reset flow", (ours, better), plan.requests, plan.rounds, plan.warm_up)
    figures.demand(ours.rates, better.rates, better.name, MARK)
    print(f"ratio in web CPU: {figures.ratios(better.cpu_milliseconds, ours.cpu_milliseconds)}", flush=True)


def request(house: House, count: int) -> tuple[Side, Side]:
    """Each address once, all of them known to either side."""
    kind = "asker"
    token_rows.fill(house.database, token_rows.ACCOUNTS, kind, count)
    token_rows.fill(house.database, (_USERS, _CREDENTIALS), kind, count)

    def wish(number: int) -> dict[str, str]:
        return {"purpose": token_rows.PURPOSE, **address(number)}

    def address(number: int) -> dict[str, str]:
        return {"email": token_rows.address(kind, number)}

    path, theirs = "/public/v1/tokens", "/api/auth/request-password-reset"
    asked = {"requests": "SELECT count(*) FROM token_requests"}
    made = {"tokens": _among("verification", "value", kind)}
    return (
        Side(name=f"POST {path}", server=house.ours, path=path, body=wish, status=202, proofs=asked),
        Side(
            name=f"{house.better_name}, request-password-reset",
            server=house.better,
            path=theirs,
            body=address,
            status=200,
            proofs=made,
        ),
    )


def reset(house: House, count: int) -> tuple[Side, Side]:
    """Each token once, all of them good."""
    kind = "resetter"
    token_rows.fill(house.database, token_rows.TOKENS, kind, count)
    token_rows.fill(house.database, (_USERS, _CREDENTIALS, _VERIFICATIONS), kind, count)

    def presented(number: int) -> dict[str, str]:
        return {"purpose": token_rows.PURPOSE, "token": token_rows.token(kind, number)}

    def changed(number: int) -> dict[str, str]:
        return {"newPassword": NEW_PASSWORD, "token": token_rows.token(kind, number)}

    path, theirs = "/public/v1/tokens/consume", "/api/auth/reset-password"
    redeemed = {
        "redeemed tokens": f"{_among('tokens', 'subject', kind)} AND consumed_at IS NOT NULL",
        "audit events": "SELECT count(*) FROM audit_events WHERE name = 'token.consumed'",
    }
    new_hash = hashlib.sha256(NEW_PASSWORD.encode()).hexdigest()
    spent = {
        "new passwords": f"""{_among("account", '"userId"', kind)} AND password = '{new_hash}'""",
        "spent tokens": f"SELECT {count} - count(*) FROM verification WHERE starts_with(value, '{kind}-')",
    }
    return (
        Side(name=f"POST {path}", server=house.ours, path=path, body=presented, proofs=redeemed),
        Side(
            name=f"{house.better_name}, reset-password",
            server=house.better,
            path=theirs,
            body=changed,
            status=200,
            proofs=spent,
        ),
    )


def _among(table: str, column: str, kind: str) -> str:
    return f"SELECT count(*) FROM {table} WHERE starts_with({column}, '{kind}-')"


def open_house(stack: ExitStack, place: Path) -> House:
    """A new database with the tables of both, and both serving it."""
    redis_url, database = stack.enter_context(stage.redis_if_any()), stack.enter_context(stage.postgres())
    variables = stage.environment(database, **tokens.quotas(redis_url))
    stage.prepare(place, variables)
    node, folder = rivals.install_for_node("better_auth", place)
    print(f"Node {subprocess.check_output([node, '--version'], text=True).strip()}")
    name = f"better-auth {rivals.node_version(folder, 'better-auth')}"
    ours = tokens.serve(stack, "wsgi:application", place, variables, THREADS)
    return House(database, ours, _serve_better_auth(stack, [node, str(folder / "server.js")], place, database), name)


def _serve_better_auth(stack: ExitStack, command: list[str], place: Path, database: str) -> tuple[int, int]:
    port = processes.free_port()
    variables: dict[str, Any] = {
        "NODE_ENV": "production",
        "DATABASE_URL": make_url(database).set(drivername="postgresql").render_as_string(hide_password=False),
        "PORT": port,
        "WORKERS": WORKERS,
        "POOL": CONNECTIONS // WORKERS,
        "AUTH_SECRET": stage.SECRET,
    }
    environment = stage.environment(database, **{key: str(value) for key, value in variables.items()})
    process = stack.enter_context(processes.running(command, folder=place, environment=environment))
    processes.wait_for_port(port, process)
    return port, process.pid


def run(parts: Iterable[str], plan: Plan) -> None:
    prepare: dict[str, Callable[[House, int], tuple[Side, Side]]] = {"request": request, "reset": reset}
    with ExitStack() as stack:
        house = open_house(stack, stack.enter_context(stage.folder()))
        measured: list[tuple[Side, Side]] = []
        for part in parts:
            measured.append(prepare[part](house, plan.total))
            compare(*measured[-1], plan)
            for side in measured[-1]:
                side.prove(house.database)
    if len(measured) > 1:
        ours, theirs = (sum(1 / figures.median(side.rates) for side in each) for each in zip(*measured, strict=True))
        print(f"a request and its reset together: {theirs / ours:.2f} times as many a second", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    parser.add_argument("--requests", type=int, default=2000, help="requests in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (%(default)s)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be given more than once")
    options = parser.parse_args()
    plan = Plan(200, 2, QUICK_WARM_UP) if options.quick else Plan(options.requests, options.rounds, WARM_UP)
    processes.end_politely_when_told()
    amount = f"{plan.rounds} rounds of {plan.requests} requests over {CONNECTIONS} connections a side"
    figures.introduce(f"the reset flow: {amount}, after {plan.warm_up} to warm up")
    run(options.part or PARTS, plan)


if __name__ == "__main__":
    main()
