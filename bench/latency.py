"""How long a token mail takes from the request to the mail server, on an idle system and while bulk mail waits.

.venv/bin/python bench/latency.py [--quick]
"""

import argparse
import http.client
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import figures
import fleet
import processes
import rivals
import sink
import stage

MOST_TIMES = 2.0
PACE_SECONDS = 0.04  # between two tokens; many of them must not wait for each other
WARM_UP = 100  # four seconds: a worker that starts compiles its templates beside the first tokens
STARTED = 500  # bulk messages that have arrived before the first token is asked for
LAST_SHARE = 0.05  # of the bulk mail; tokens among the last of it would meet a system that is nearly idle
_SETTLE_SECONDS = 20
_TOKEN = {
    "template": "password-reset",
    "to": "ada@example.com",
    "variables": {
        "name": "Ada",
        "action_url": "https://app.example.com/reset-password?token=Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx",
        "expires_in_minutes": 60,
    },
}


@dataclass(frozen=True)
class Token:
    """One token mail's moments on the machine's monotonic clock."""

    message_id: str
    asked_at: float
    accepted_at: float


@dataclass
class Caller:
    """The product's back end: asks for token mail over one connection that stays open."""

    port: int
    api_key: str
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self) -> Token:
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        asked_at = time.monotonic()
        self.connection.request("POST", "/v1/messages", json.dumps(_TOKEN), headers)
        answer = self.connection.getresponse()
        body = answer.read()
        accepted_at = time.monotonic()
        if answer.status != 202:
            raise RuntimeError(f"A token mail was answered {answer.status}: {body.decode()[:300]}")
        domain = stage.SENDER.rpartition("@")[2]
        return Token(f"{json.loads(body)['id']}@{domain}", asked_at, accepted_at)


@dataclass
class Waits:
    """What was seen in one situation."""

    name: str
    to_accept: list[float] = field(default_factory=list)
    to_dot: list[float] = field(default_factory=list)

    def note(self, tokens: list[Token], moments: dict[str, float]) -> None:
        lost = [token for token in tokens if token.message_id not in moments]
        assert not lost, f"{len(lost)} of {len(tokens)} token mails never came"
        self.to_accept += [token.accepted_at - token.asked_at for token in tokens]
        self.to_dot += [moments[token.message_id] - token.asked_at for token in tokens]

    def report(self) -> None:
        whole, accept = (_told(values) for values in (self.to_dot, self.to_accept))
        print(
            f"{self.name:34} request to final dot {whole}   of it request to 202 {accept}   {len(self.to_dot)} tokens"
        )


def _told(values: list[float]) -> str:
    middle, late = (figures.percentile(values, share) * 1000 for share in (0.5, 0.99))
    return f"median {middle:6.1f} ms  p99 {late:6.1f} ms"


@dataclass
class Bench:
    """One installation with its web processes running."""

    ours: fleet.Fleet
    server: sink.Handle
    caller: Caller

    def ask(self, count: int, bulk: int | None = None) -> list[Token]:
        """So many tokens at an even pace, or fewer when the bulk mail comes to its end before."""
        tokens: list[Token] = []
        last = None if bulk is None else bulk * (1 - LAST_SHARE)
        while len(tokens) < count:
            begun_at = time.monotonic()
            if last is not None and self.server.ask("report")["messages"] - len(tokens) > last:
                break
            tokens.append(self.caller.ask())
            if len(tokens) % 50 == 0:
                figures.tell(f"{len(tokens)} of {count} tokens")
            time.sleep(max(0.0, begun_at + PACE_SECONDS - time.monotonic()))
        return tokens

    def idle(self, waits: Waits, count: int) -> None:
        with self.ours.working():
            self.server.ask("reset")
            self.ask(WARM_UP)
            self._wait(WARM_UP)
            self.server.ask("reset")
            tokens = self.ask(count)
            self._wait(count)
        waits.note(tokens, self.server.ask("moments"))

    def loaded(self, waits: Waits, count: int, bulk: int) -> None:
        """Queue bulk mail, start the workers, and ask for tokens while it leaves; at most `count`."""
        already = sum(stage.count_by_status(self.ours.house.database).values())
        queued = stage.queue(self.ours.house.database, bulk, lane="bulk")
        self.server.ask("hold")
        self.server.ask("reset")
        with self.ours.working() as workers:
            # A worker that still starts would take the CPU from the tokens; that is not what is asked here.
            fleet.gather(self.server, workers, self.ours.bulk_connections)
            self.server.ask("go")
            rivals.wait_for(self.server, min(STARTED, bulk // 4), workers)
            early = self.ask(WARM_UP)
            tokens = self.ask(count, bulk)
            taken, asked = self.server.ask("report"), len(early) + len(tokens)
            rate = (taken["messages"] - asked) / (taken["last_at"] - taken["first_at"])
            figures.tell(f"{len(tokens)} tokens while bulk mail left at {rate:.0f}/s")
            if not tokens:
                raise RuntimeError(
                    f"{bulk} bulk messages had left before the first token was asked for: give --bulk more."
                )
            rivals.wait_for(self.server, bulk + asked, workers)
            self.ours.house.wait_until_sent(already + bulk + asked)
        self.ours.house.check(queued | {token.message_id for token in (*early, *tokens)})
        waits.note(tokens, self.server.ask("moments"))

    def _wait(self, count: int) -> None:
        until = time.monotonic() + _SETTLE_SECONDS
        while (seen := self.server.ask("report")["messages"]) < count:
            if time.monotonic() > until:
                raise RuntimeError(f"Only {seen} of {count} token mails came within {_SETTLE_SECONDS} s.")
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run with 30 tokens and 5,000 bulk messages")
    parser.add_argument("--tokens", type=int, default=300, help="token mails in each situation (%(default)s)")
    parser.add_argument("--bulk", type=int, default=20_000, help="bulk messages that wait (%(default)s)")
    options = parser.parse_args()
    count, bulk = (30, 5000) if options.quick else (options.tokens, options.bulk)
    processes.end_politely_when_told()
    figures.introduce(
        f"latency: {count} token mails, idle and while {bulk} bulk messages wait; 2 web processes, a worker for "
        "tokens and one for the rest"
    )
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        database, broker = stack.enter_context(stage.postgres()), stack.enter_context(stage.redis())
        server = stack.enter_context(sink.running(place))
        settings = {"CELERY_BROKER_URL": broker, "REDIS_URL": broker}
        house = fleet.Installation(place, database, server, settings)
        port, _ = stack.enter_context(house.serving(2))
        bench = Bench(fleet.Fleet(house, lanes=["token", "transactional,bulk"]), server, Caller(port, house.api_key))
        idle, loaded = Waits("idle"), Waits(f"while {bulk} bulk messages wait")
        bench.idle(idle, count)
        while len(loaded.to_dot) < count:
            bench.loaded(loaded, count - len(loaded.to_dot), bulk)
        figures.clear()
        idle.report()
        loaded.report()
    times = figures.percentile(loaded.to_dot, 0.99) / figures.percentile(idle.to_dot, 0.99)
    verdict = "kept" if times <= MOST_TIMES else "BROKEN"
    print(f"p99 under load is {times:.2f} times the idle one; at most {MOST_TIMES}: {verdict}")


if __name__ == "__main__":
    main()
