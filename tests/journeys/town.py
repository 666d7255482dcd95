"""The whole distributed shape as plain processes: two web processes, two workers and a beat over servers of its own.

Starts, kills and revives them, sends through the API as a client does, and counts what became of what was accepted.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import requests

from tests.applications import SECRET_KEY, migrate, opened
from tests.journeys.private_servers import PrivatePostgres, PrivateRedis
from tests.journeys.processes import House, Process, Web, free_port, wait_until, welcome
from tests.journeys.sink import Sink
from tests.journeys.turnstile import Turnstile

LEASE_SECONDS = 10
MAIL_TIMEOUT_SECONDS = 6  # far more than a server here holds back on purpose what is to succeed
SWEEP_SECONDS = 1
PATIENCE_SECONDS = 90  # of a caller whom nobody answers
# The rows that will never be sent, although they were accepted; one that is held as uncertain has no next look.
UNSENT = ("failed", "bounced", "suppressed", "expired", "cancelled", "uncertain")
_OPEN = "status IN ('scheduled', 'queued', 'sending', 'deferred') OR (status = 'uncertain' AND due_at IS NOT NULL)"
SETTINGS = {
    "SECRET_KEY": SECRET_KEY,
    "DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS),
    "MAIL_RETRY_DELAYS": "1s",
    "MAIL_TIMEOUT": str(MAIL_TIMEOUT_SECONDS),
    "API_RATE_LIMIT": "1000000/minute",
    "PUBLIC_RATE_LIMIT": "1000000/minute",
}


@dataclass(frozen=True)
class Tally:
    """What became of what was accepted."""

    accepted: int
    delivered: int  # distinct Message-IDs at the sink
    unsent: int  # terminal rows that never came there
    lost: int
    duplicated: int  # Message-IDs that came more than once
    most: int  # copies of one Message-ID
    extra: int  # copies beyond the first ones

    def line(self, name: str, **more: object) -> str:
        told = {"accepted": self.accepted, "delivered": self.delivered, "lost": self.lost}
        told |= {"duplicated": self.duplicated, "unsent": self.unsent, "most": self.most, **more}
        return " ".join([name, *(f"{key}={value}" for key, value in told.items())])


def open_database(postgres: PrivatePostgres, name: str) -> str:
    """A new, migrated database with a client in it; the client's key."""
    postgres.create_database(name)
    with opened(postgres.url(name)) as house:
        migrate(house)
        return house.add_client("town")


@dataclass
class Town:
    """One installation with everything in it."""

    house: House
    postgres: PrivatePostgres
    redis: PrivateRedis | None
    sink: Sink
    turnstile: Turnstile
    database: str
    api_key: str
    is_embedded: bool = False  # the web processes deliver, without Celery
    port: int = field(default_factory=free_port)
    figures_ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))  # of the workers
    running: dict[str, Process] = field(default_factory=dict)

    def commands(self) -> dict[str, tuple[list[str], dict[str, str]]]:
        """What belongs to the town, by its place in it."""
        through = {"DATABASE_URL": self.postgres.url(self.database, self.turnstile.port)}
        worker = ["worker", "--concurrency", "4"]
        if self.is_embedded:
            return {"web": (["run", "--port", str(self.port), "--workers", "4"], {})}
        return {
            "web": (["run", "--port", str(self.port), "--workers", "2"], through),
            "worker-1": (worker, {"METRICS_BIND": f"127.0.0.1:{self.figures_ports[0]}"}),
            "worker-2": (worker, {"METRICS_BIND": f"127.0.0.1:{self.figures_ports[1]}"}),
            "beat": (["beat"], {}),
        }

    def revive(self, *names: str) -> None:
        """Start whatever of these (else of all) does not run. Only from a thread that lasts: see processes.LEASH."""
        for name, (words, settings) in self.commands().items():
            if (not names or name in names) and not (name in self.running and self.running[name].is_running()):
                folder = self.house.folder / f"tmp-{name}"
                folder.mkdir(exist_ok=True)
                self.running[name] = self.house.start(*words, TMPDIR=str(folder), **settings)

    def web(self) -> Web:
        web = self.house.await_web(self.running["web"], self.port)
        web.api_key = self.api_key
        return web

    def workers(self) -> list[Process]:
        return [self.running[name] for name in self.running if name.startswith("worker")]

    def find_owner(self, port: int) -> tuple[str, int]:
        """Which process holds this end of a connection: its place in the town and its id."""
        inode = _find_inode(port)
        for name, process in self.running.items():
            for pid in find_family(process):
                if inode and inode in _find_sockets(pid):
                    return name, pid
        return "", 0

    def send(self, to: str, **members: Any) -> dict[str, Any]:
        """As a careful client does it: again, under the same key, until somebody answers."""
        accepted: dict[str, Any] = self._post("/v1/messages", {**welcome(to), **members})
        return accepted

    def send_many(self, count: int, name: str, threads: int = 8, **members: Any) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(threads) as pool:
            numbers = range(count)
            return list(pool.map(lambda number: self.send(f"{name}-{number}@example.com", **members), numbers))

    def send_batch(self, count: int, name: str, **members: Any) -> list[dict[str, Any]]:
        """Many at once, all of them accepted."""
        accepted = []
        for begin in range(0, count, 500):
            numbers = range(begin, min(begin + 500, count))
            messages = [{**welcome(f"{name}-{number}@example.com"), **members} for number in numbers]
            answer = self._post("/v1/messages/batch", {"messages": messages})
            accepted += [item["message"] for item in answer["data"]]
        return accepted

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        options = {"json": body, "headers": {"Idempotency-Key": token_hex(12)}, "timeout": 20}
        web = Web(self.running["web"], f"http://127.0.0.1:{self.port}", self.api_key)

        def attempt() -> list[requests.Response]:
            with suppress(requests.RequestException):
                response = web.call("POST", path, **options)
                return [] if response.status_code in {409, 429, 503} else [response]
            return []

        [response] = wait_until(attempt, PATIENCE_SECONDS, pause_seconds=0.2)
        assert response.ok, response.text
        return response.json()

    def let_time_pass(self) -> None:
        """Whatever waits for its next look has waited long enough, and so has every breaker."""
        self.rows("UPDATE messages SET due_at = now() WHERE due_at > now() AND status <> 'sending' RETURNING id")
        self.rows("UPDATE route_breakers SET open_until = now(), probe_until = NULL RETURNING route")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.postgres.connect(self.database) as connection:
            return connection.execute(query, values).fetchall()

    def statuses(self, accepted: Iterable[dict[str, Any]]) -> dict[str, str]:
        ids = [message["message_id_header"] for message in accepted]
        return dict(self.rows("SELECT message_id_header, status FROM messages WHERE message_id_header = ANY(%s)", ids))

    def open_count(self) -> int:
        """How many messages have not come to an end."""
        return int(self.rows(f"SELECT count(*) FROM messages WHERE {_OPEN}")[0][0])

    def wait_until_settled(self, seconds: float = 60) -> float:
        """Until every message has come to an end; how long that took."""
        begun_at = time.monotonic()
        wait_until(lambda: self.open_count() == 0, seconds, pause_seconds=0.1)
        return time.monotonic() - begun_at

    def tally(self, accepted: Sequence[dict[str, Any]]) -> Tally:
        statuses, taken = self.statuses(accepted), self.sink.taken()
        counts = [len(taken.get(message["message_id_header"], ())) for message in accepted]
        missing = [each for each in accepted if each["message_id_header"] not in taken]
        unsent = [each for each in missing if statuses.get(each["message_id_header"]) in UNSENT]
        return Tally(
            accepted=len(accepted),
            delivered=sum(count > 0 for count in counts),
            unsent=len(unsent),
            lost=len(missing) - len(unsent),
            duplicated=sum(count > 1 for count in counts),
            most=max(counts, default=0),
            extra=sum(count - 1 for count in counts if count),
        )


@contextmanager
def open_town(folder: Path, postgres: PrivatePostgres, redis: PrivateRedis | None, **settings: str) -> Iterator[Town]:
    """A town whose processes have been started; `town.web()` waits until it answers. Without Redis it is embedded."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        turnstile = stack.enter_context(Turnstile(postgres.port))
        database = f"town_{token_hex(4)}"
        api_key = open_database(postgres, database)
        brokers = {"REDIS_URL": f"{redis.url}/0", "CELERY_BROKER_URL": f"{redis.url}/1"} if redis else {}
        own = {"DATABASE_URL": postgres.url(database)}
        house = stack.enter_context(House(folder, {**SETTINGS, **own, **brokers, **sink.settings(), **settings}))
        town = Town(house, postgres, redis, sink, turnstile, database, api_key, is_embedded=redis is None)
        town.revive()
        yield town


def find_family(process: Process) -> list[int]:
    with suppress(OSError):
        return [process.pid, *process.children()]
    return []


def _find_inode(port: int) -> str:
    """The socket whose own end is this port of 127.0.0.1."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # A closed connection to somebody else may have left the same port behind, and belongs to nobody.
        if fields[1] == f"0100007F:{port:04X}" and fields[9] != "0":
            return fields[9]
    return ""


def _find_sockets(pid: int) -> Counter[str]:
    found: Counter[str] = Counter()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found[str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]")] += 1
    return found
