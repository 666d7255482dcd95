"""The next version takes over from this one under load, process by process, on one database and one Redis.

How `docs/operations.md` says it is done: migrate, then workers and beat, then web behind a balancer.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.journeys import versions
from tests.journeys.balancer import Answer, Balancer, look, wait_until_ready
from tests.journeys.private_servers import private_redis
from tests.journeys.processes import Process, free_port, wait_until, welcome
from tests.journeys.town import Town, open_town

CALLERS = 2
PAUSE_SECONDS = 0.05  # of a caller, so that what starts on a small machine has its turn
OLD, NEW = "old", "new"


@dataclass
class Load:
    """Callers that use the answer of one instance at the next, all the time."""

    balancer: Balancer
    accepted: list[dict] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    crossings: Counter = field(default_factory=Counter)  # from the version that made it to the one that was shown it
    key_sets: set[str] = field(default_factory=set)
    rounds: Counter = field(default_factory=Counter)
    is_over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.threads = [threading.Thread(target=self._go_on, args=[number]) for number in range(CALLERS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)

    def let_pass(self, rounds: int = 3) -> None:
        """Until every caller went round so many times more."""
        goal = {number: self.rounds[number] + rounds for number in range(CALLERS)}
        wait_until(lambda: self.failed or all(self.rounds[number] >= goal[number] for number in goal), 60)
        assert self.failed == []

    def _go_on(self, number: int) -> None:
        try:
            subject = f"u-{number}"
            self._call("PUT", f"/v1/accounts/{subject}", {"email": f"{subject}@example.com", "name": "Ada"})
            session = self._call("POST", "/v1/sessions", {"subject": subject})
            for turn in count():
                if self.is_over.is_set():
                    return
                session = self._round(subject, f"{number}-{turn}", session)
                self.rounds[number] += 1
                time.sleep(PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - the test tells it, whatever it is
            self.failed.append(f"{type(error).__name__}: {error}")

    def _round(self, subject: str, name: str, session: Answer) -> Answer:
        """A mail, a link and a code, and one more turn of a session that has lasted from the beginning."""
        body = {**welcome(f"reader-{name}@example.com"), "client_reference": name}
        self.accepted.append(self._call("POST", "/v1/messages", body, **{"Idempotency-Key": f"message {name}"}).body)
        asked = {"subject": subject, "email": f"{subject}@example.com", "deliver": False}
        link = self._call("POST", "/v1/tokens", {**asked, "purpose": "password_reset"})
        shown = {"purpose": "password_reset", "token": link.body["token"]}
        code = self._call("POST", "/v1/tokens", {**asked, "purpose": "login_code"})
        self._cross(link, self._call("POST", "/v1/tokens/verify", shown))
        self._cross(link, self._call("POST", "/v1/tokens/consume", shown))
        shown = {"purpose": "login_code", "email": asked["email"], "code": code.body["code"]}
        self._cross(code, self._call("POST", "/v1/tokens/consume", shown))
        keys = self._call("GET", "/.well-known/jwks.json")
        jwt.decode(session.body["access_token"], KeySet.import_key_set(keys.body), algorithms=["ES256"])
        self.key_sets.add(" ".join(sorted(key["kid"] for key in keys.body["keys"])))
        shown = {"refresh_token": session.body["refresh_token"]}
        refreshed = self._call("POST", "/public/v1/sessions/refresh", shown)
        self._cross(session, refreshed)
        return refreshed

    def _call(self, method: str, path: str, body: dict | None = None, **headers: str) -> Answer:
        answer = self.balancer.call(method, path, body, **headers)
        assert answer.status < 300, f"{path} at {answer.place}: {answer.status} {answer.body}"
        return answer

    def _cross(self, made: Answer, shown: Answer) -> None:
        self.crossings[made.place.partition(" ")[0], shown.place.partition(" ")[0]] += 1


@dataclass
class Fleet:
    """A town whose web processes are behind a balancer, and whose processes are of one version or the other."""

    town: Town
    balancer: Balancer
    path: Path  # of the new version
    ended: list[Process] = field(default_factory=list)

    def start(self, name: str, version: str, *words: str) -> None:
        folder = self.town.house.folder / f"{version}-{name}-{len(self.ended)}"
        folder.mkdir()
        settings = {"TMPDIR": str(folder), **({"PYTHONPATH": str(self.path)} if version == NEW else {})}
        self.town.running[name] = self.town.house.start(*words, **settings)

    def stop(self, name: str) -> None:
        """SIGTERM, and an orderly end."""
        process = self.town.running.pop(name)
        assert process.terminate() == 0, process.log()[-2000:]
        self.ended.append(process)

    def start_web(self, name: str, version: str) -> None:
        port = free_port()
        self.start(name, version, "run", "--port", str(port), "--workers", "2")
        self.balancer.put_in(f"{version} {name}", port)
        wait_until_ready(self.balancer, f"{version} {name}")

    def stop_web(self, name: str, version: str) -> None:
        self.balancer.take_out(f"{version} {name}")
        self.stop(name)

    def replace_worker(self, name: str) -> None:
        self.stop(name)
        self.start(name, NEW, "worker", "--concurrency", "4")
        wait_until(lambda: " ready." in self.town.running[name].log(), 60)

    def logs(self) -> str:
        return "".join(process.log() for process in [*self.ended, *self.town.running.values()])


@pytest.fixture
def fleet(own_postgres, tmp_path) -> Iterator[Fleet]:
    path = versions.make_next(tmp_path / "next")
    home = tmp_path / "town"
    home.mkdir()
    with private_redis() as redis, open_town(home, own_postgres, redis) as town, Balancer(town.api_key) as balancer:
        fleet = Fleet(town, balancer, path)
        town.web()
        balancer.put_in(f"{OLD} web", town.port)
        fleet.start_web("web-2", OLD)
        wait_until_ready(balancer, f"{OLD} web")
        wait_until(lambda: all(" ready." in worker.log() for worker in town.workers()), 60)
        yield fleet


@pytest.mark.timeout(420)
def test_the_next_version_takes_over_process_by_process_and_no_call_and_no_mail_is_lost(fleet, tell):
    """F15: old and new code on one schema, which is the new one's."""
    town, turns = fleet.town, count()

    def rule(moment):
        if moment.phase == "final" and not next(turns) % 20:
            time.sleep(1.5)  # on its way for longer than a process takes to end that waits for nobody

    town.sink.rule = rule
    with Load(fleet.balancer) as load:
        load.let_pass()
        migrate(fleet)
        load.let_pass()
        for name in ("worker-1", "worker-2"):
            fleet.replace_worker(name)
        fleet.stop("beat")
        fleet.start("beat", NEW, "beat")
        load.let_pass()
        fleet.stop_web("web", OLD)
        fleet.start_web("web", NEW)
        load.let_pass(6)
        # An old process that has to start anew amid all of this, as after a crash, comes up again.
        fleet.stop_web("web-2", OLD)
        fleet.start_web("web-2", OLD)
        load.let_pass(6)
        fleet.stop_web("web-2", OLD)
        fleet.start_web("web-2", NEW)
        load.let_pass()
    assert load.failed == []
    town.wait_until_settled(90)
    tally = town.tally(load.accepted)
    tell(tally.line("F15 (old and new)", failed_requests=len(load.failed)))
    assert (tally.delivered, tally.lost, tally.most) == (len(load.accepted), 0, 1)
    assert set(town.statuses(load.accepted).values()) == {"sent"}
    assert {(OLD, OLD), (OLD, NEW), (NEW, OLD), (NEW, NEW)} <= load.crossings.keys()
    assert len(load.key_sets) == 1
    makers = dict(town.rows("SELECT made_by, count(*) FROM messages GROUP BY made_by"))
    assert makers.keys() == {versions.BEFORE, versions.AFTER}
    assert "Traceback" not in fleet.logs()


def migrate(fleet: Fleet) -> None:
    """With the new version, while the old one serves."""
    told = fleet.town.house.command("--version", PYTHONPATH=str(fleet.path)).stdout
    assert told.strip() == versions.NUMBER
    done = fleet.town.house.command("migrate", PYTHONPATH=str(fleet.path))
    assert (done.returncode, done.stdout) == (0, "The database is up to date.\n"), done.stderr
    for port in fleet.balancer.ports.values():
        status, document = look(port)
        assert (status, document["checks"]["migrations"]) == (200, "ahead")
    # The old version's own container that migrates may be started again, too.
    done = fleet.town.house.command("migrate")
    assert (done.returncode, done.stdout) == (0, "The database is newer than this version: left as it is.\n")
