"""Whether the time of `POST /public/v1/tokens` tells if an address has an account (T12), and whether this would see it.

.venv/bin/python bench/timing.py [--quick] [--codes]

The same is measured once more with a service that waits 2 ms for addresses that exist, which has to be noticed. With
`--codes` it is measured of wrong codes for addresses that have a live one, and for others.
"""

import argparse
import json
import random
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import figures
import load
import processes
import stage
import token_rows
import tokens

LEAST_AUC, MOST_AUC = 0.47, 0.53
CONCURRENCIES = (1, 20)
PAUSE_MILLISECONDS = 2  # as `slowed` has it
KNOWN_EVERY = 2  # readers, the others are unknown
KIND = "reader"
CODE = "login_code"  # the purpose whose secret is a code alone
SITTINGS = 10  # of the load generator, so that there is progress to be seen


@dataclass(frozen=True)
class Times:
    """How long answers took, in seconds, by whether the address exists."""

    known: list[float]
    unknown: list[float]

    @property
    def auc(self) -> float:
        """How often a known address is answered later than an unknown one, equal times counting half (Mann-Whitney)."""
        ordered = sorted(self.unknown)
        wins = sum(bisect_left(ordered, each) + bisect_right(ordered, each) for each in self.known)
        return wins / 2 / len(self.known) / len(ordered)

    def difference(self, share: float) -> tuple[float, float]:
        """Known less unknown at this share of the answers: in ms, and as a part of the unknown."""
        known, unknown = (figures.percentile(values, share) for values in (self.known, self.unknown))
        return (known - unknown) * 1000, (known - unknown) / unknown

    def tell(self, title: str, *, is_slowed: bool) -> None:
        is_even = LEAST_AUC <= self.auc <= MOST_AUC
        p50, p95 = (f"{ms:+.2f} ms ({part:+.1%})" for ms, part in (self.difference(0.5), self.difference(0.95)))
        middle = figures.percentile(self.unknown, 0.5) * 1000
        wanted = f"outside of {LEAST_AUC} to {MOST_AUC}" if is_slowed else f"{LEAST_AUC} to {MOST_AUC}"
        verdict = "kept" if is_even is not is_slowed else "BROKEN"
        print(
            f"{title}: AUC {self.auc:.3f}, {wanted}: {verdict}; known less unknown at the median {p50} of "
            f"{middle:.1f} ms, at p95 {p95}; {len(self.known)} known, {len(self.unknown)} unknown",
            flush=True,
        )


Ask = Callable[[int, int, Sequence[int]], list[float]]  # port, concurrency, readers: seconds for each of them


def measure(ask: Ask, port: int, concurrency: int, count: int) -> Times:
    """`count` readers with an account and as many without, in a new random order each time, after a warm-up."""
    numbers = list(range(count * KNOWN_EVERY))
    random.SystemRandom().shuffle(numbers)
    ask(port, concurrency, numbers[: max(100, len(numbers) // 10)])
    times = Times([], [])
    for sitting in range(SITTINGS):
        asked = numbers[sitting::SITTINGS]
        for number, seconds in zip(asked, ask(port, concurrency, asked), strict=True):
            (times.unknown if number % KNOWN_EVERY else times.known).append(seconds)
        figures.tell(f"concurrency {concurrency}: {len(times.known) + len(times.unknown)} of {len(numbers)}")
    figures.clear()
    return times


def ask_for_mail(port: int, concurrency: int, numbers: Sequence[int]) -> list[float]:
    """Each asks for a password reset."""
    bodies = [{"purpose": token_rows.PURPOSE, "email": token_rows.address(KIND, number)} for number in numbers]
    return post(port, "/public/v1/tokens", 202, concurrency, bodies)


def guess(port: int, concurrency: int, numbers: Sequence[int]) -> list[float]:
    """Each shows a code that is wrong, but once in a million times."""
    bodies = [
        {"purpose": CODE, "email": token_rows.address(KIND, number), "code": f"{secrets.randbelow(10**6):06}"}
        for number in numbers
    ]
    return post(port, "/public/v1/tokens/consume", 400, concurrency, bodies)


def issue_codes(port: int, count: int, api_key: str) -> None:
    """A live code for every reader who has an account."""
    numbers = range(0, count * KNOWN_EVERY, KNOWN_EVERY)
    order = {"purpose": CODE, "deliver": False}
    bodies = [{**order, "subject": f"{KIND}-{number}", "email": token_rows.address(KIND, number)} for number in numbers]
    post(port, "/v1/tokens", 201, CONCURRENCIES[-1], bodies, api_key=api_key)


def post(port: int, path: str, status: int, connections: int, bodies: Sequence[object], **more: str) -> list[float]:
    """Seconds for each of them."""
    written = [json.dumps(body) for body in bodies]
    seen = load.post(
        port=port,
        path=path,
        requests=len(written),
        connections=connections,
        bodies=written,
        is_forwarded=True,
        status=status,
        **more,
    )
    latencies: list[float] = seen["latencies"]
    return latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 of each; too few for a verdict")
    parser.add_argument("--codes", action="store_true", help="guesses at codes instead of requests for mail")
    parser.add_argument("--count", type=int, default=3000, help="requests of each class (%(default)s)")
    options = parser.parse_args()
    count = 300 if options.quick else options.count
    processes.end_politely_when_told()
    figures.introduce(
        f"timing: {count} {'codes' if options.codes else 'requests'} for known and {count} for unknown addresses, in "
        "random order, two web processes, no worker"
    )
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        redis_url, database = stack.enter_context(stage.redis_if_any()), stack.enter_context(stage.postgres())
        variables = stage.environment(database, **tokens.quotas(redis_url))
        api_key = stage.prepare(place, variables)
        token_rows.fill(database, token_rows.ACCOUNTS, KIND, count * KNOWN_EVERY, KNOWN_EVERY)
        for application, slowness in (("wsgi:application", 0), ("slowed:application", PAUSE_MILLISECONDS)):
            print(f"\n{f'{slowness} ms slower for known addresses, on purpose' if slowness else 'as it is'}")
            with ExitStack() as served:
                port, _ = tokens.serve(served, application, place, variables)
                if options.codes:
                    issue_codes(port, count, api_key)
                for concurrency in CONCURRENCIES:
                    times = measure(guess if options.codes else ask_for_mail, port, concurrency, count)
                    times.tell(f"concurrency {concurrency}", is_slowed=bool(slowness))


if __name__ == "__main__":
    main()
