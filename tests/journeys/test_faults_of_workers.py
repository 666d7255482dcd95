"""Workers that die at the worst moments, are doubled or are told twice (F1, F2, F7, F8): nothing is lost, and a copy
more exists only where SMTP cannot avoid it."""

import base64
import itertools
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest
from celery import Celery

from email_service.delivery import tasks
from tests.journeys.mailbag import Hold, Strike
from tests.journeys.processes import wait_until
from tests.journeys.sink import TAKEN, Moment
from tests.journeys.town import LEASE_SECONDS, SWEEP_SECONDS, Town, open_town
from tests.wire.steps import Reply

PACE_SECONDS = 0.1
SLACK_SECONDS = 8  # for a machine that is busy with starting processes


class Killer:
    """A rule that kills a delivering process at every so many moments of one phase, and says what it was about."""

    def __init__(self, town: Town, phase: str, every: int, most: int, victims: tuple[str, ...]) -> None:
        self.town, self.phase, self.every, self.most, self.victims = town, phase, every, most, victims
        self.kills = 0
        self.exposed: Counter[str] = Counter()  # by Message-ID: deaths while its outcome was not written down
        self._seen = 0
        self._lock = threading.Lock()

    def __call__(self, moment: Moment):
        if moment.phase != self.phase or moment.copy > 1:
            return None
        with self._lock:
            self._seen += 1
            is_time = self._seen >= self.every and self.kills < self.most
            name, pid = self.town.find_owner(moment.port) if is_time else ("", 0)
            if name not in self.victims:
                # The sink takes its time, as servers do: what it took before is written down meanwhile.
                return _Pause() if self.phase == "final" else None
            self._seen = 0
        said = TAKEN if self.phase == "final" else ""
        return Strike(said, is_last=not said, deed=lambda: self._kill(pid))

    def _kill(self, pid: int) -> None:
        with self._lock:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            rows = self.town.rows("SELECT message_id_header FROM messages WHERE status = 'sending'")
            # A commit that is on its way may still arrive: one message too many is counted at most, never one too few.
            self.exposed.update(message_id for (message_id,) in rows)
            self.kills += 1


class _Pause(Reply):
    def perform(self, write, is_stopping) -> None:
        time.sleep(PACE_SECONDS)
        write(TAKEN.encode() + b"\r\n")

    def __init__(self) -> None:
        super().__init__(TAKEN)


def _check_copies(town: Town, killer: Killer, accepted, tell, name: str) -> float:
    """What every kill after a 250 must keep to; how long a message was at most in the hands of the dead."""
    tally, taken = town.tally(accepted), town.sink.taken()
    copies = {each["message_id_header"]: taken.get(each["message_id_header"], []) for each in accepted}
    waits = [after.at - before.at for found in copies.values() for before, after in itertools.pairwise(found)]
    recovery_seconds = max(waits, default=0.0)
    tell(tally.line(name, kills=killer.kills, extra=tally.extra, recovery_seconds=f"{recovery_seconds:.1f}"))
    assert killer.kills == killer.most
    assert tally.lost == tally.unsent == 0
    # What was written down is never sent again; what was not, once more for each death.
    assert all(len(found) - 1 <= killer.exposed[message_id] for message_id, found in copies.items())
    assert all(len({copy.digest for copy in found}) == 1 for found in copies.values())
    assert set(town.statuses(accepted).values()) == {"sent"}
    assert waits, "no kill hit between the 250 and the commit"
    return recovery_seconds


def test_a_worker_that_dies_between_the_250_and_its_commit_costs_one_more_copy_at_most(town, tell):
    """F1"""
    town.sink.rule = killer = Killer(town, "final", every=10, most=1, victims=("worker-1",))
    accepted = []
    while killer.kills < killer.most:
        # The other worker lives, and takes over what the dead one held.
        town.revive()
        accepted += town.send_batch(40, f"struck-{len(accepted)}")
        wait_until(lambda: town.open_count() < 20, 60)
        assert len(accepted) < 4000
    town.wait_until_settled(90)
    recovery_seconds = _check_copies(town, killer, accepted, tell, "F1 (Celery workers)")
    assert recovery_seconds <= LEASE_SECONDS + SWEEP_SECONDS + SLACK_SECONDS


@pytest.fixture
def embedded_town(own_postgres, tmp_path):
    # What the dead held comes back soon, for twenty of them die one after the other.
    quick = {"DELIVERY_LEASE_SECONDS": "5", "MAIL_TIMEOUT": "3"}
    with open_town(tmp_path, own_postgres, None, DELIVERY_THREADS="1", **quick) as town:
        town.web()
        yield town


def test_twenty_deaths_between_the_250_and_the_commit_lose_nothing(embedded_town, tell):
    """F1: with one connection, a death exposes the message in hand and those that are being written down."""
    town = embedded_town
    town.sink.rule = killer = Killer(town, "final", every=3, most=20, victims=("web",))
    accepted = []
    while killer.kills < killer.most:
        accepted += town.send_many(20, f"struck-{len(accepted)}", threads=2)
        # However slowly a process comes back, what it struck is delivered before more is sent.
        wait_until(lambda: town.open_count() < 20, 60)
        assert len(accepted) < 2000
    town.wait_until_settled(90)
    _check_copies(town, killer, accepted, tell, "F1 (delivery in web)")


def test_a_worker_that_dies_before_or_amid_the_content_sends_each_message_once(embedded_town, tell):
    """F2"""
    town = embedded_town
    content = base64.b64encode(os.urandom(9_000_000)).decode()
    # Nothing of this content is read before the death, and it is larger than what the kernel keeps.
    big = [{"filename": "big.bin", "content_type": "application/octet-stream", "content": content}]
    accepted = []
    for phase, more in {"mail": {}, "rcpt": {}, "data": {}, "content": {"attachments": big}}.items():
        # One at a time: behind a content, the next message is begun while the outcome of this one is not yet written.
        town.sink.rule = killer = Killer(town, phase, every=1, most=1, victims=("web",))
        accepted.append(town.send(f"{phase}@example.com", **more))
        wait_until(lambda: killer.kills == 1, 60)  # noqa: B023 - called before the next round
    town.wait_until_settled(90)
    tally = town.tally(accepted)
    tell(tally.line("F2", kills=len(accepted)))
    assert (tally.delivered, tally.lost, tally.most) == (4, 0, 1)
    assert set(town.statuses(accepted).values()) == {"sent"}


def test_a_wake_up_that_comes_again_and_again_sends_a_message_once(town, tell):
    """F7: what a visibility time-out does is to put the same broker message back while its task still runs."""
    for name in ("worker-1", "worker-2", "beat"):
        town.running[name].kill()
    with town.redis.client(1) as broker:
        broker.flushdb()
        accepted = [town.send("again@example.com")]
        (wake_up,) = wait_until(lambda: broker.lrange("transactional", 0, -1))
        hold = Hold(TAKEN)
        town.sink.rule = lambda moment: hold if moment.phase == "final" and moment.copy == 1 else None
        broker.rpush("transactional", wake_up, wake_up)
        town.revive()
        assert hold.reached.wait(60)
        for _ in range(3):
            broker.rpush("transactional", wake_up)
            time.sleep(0.7)
        wait_until(lambda: broker.llen("transactional") == 0)
    hold.released.set()
    town.wait_until_settled()
    tally = town.tally(accepted)
    tell(tally.line("F7", wake_ups=6))
    assert (tally.delivered, tally.lost, tally.most) == (1, 0, 1)


def test_two_workers_and_many_rows_claim_none_of_them_twice(town, tell):
    """F8"""
    before = [process.log().count("message.sent") for process in town.workers()]
    accepted = town.send_batch(1500, "row")
    seconds = town.wait_until_settled(90)
    shares = [
        process.log().count("message.sent") - count for process, count in zip(town.workers(), before, strict=True)
    ]
    tally = town.tally(accepted)
    tell(tally.line("F8", shares=shares, seconds=f"{seconds:.1f}"))
    assert (tally.delivered, tally.lost, tally.most) == (1500, 0, 1)
    assert all(shares)
    attempts = town.rows(
        "SELECT count(*) FROM delivery_attempts JOIN messages ON messages.id = message_id "
        "WHERE message_id_header = ANY(%s)",
        [each["message_id_header"] for each in accepted],
    )
    assert attempts == [(1500,)]


def test_two_beats_and_tasks_that_nobody_knows_stop_no_worker(town, tell):
    """F7, F13: the broker may hold any message; what is none at all ends a worker, and its restart heals that."""
    second_beat = town.house.start("beat", TMPDIR=str(town.house.folder))
    celery = Celery(broker=f"{town.redis.url}/1", set_as_current=False)
    celery.send_task("nobody.knows", queue="transactional")
    celery.send_task(tasks.DRAIN, queue="transactional", args=[])
    celery.send_task(tasks.DRAIN, queue="transactional", args=[["no lane"]])
    with celery.producer_pool.acquire(block=True) as producer:
        producer.publish(
            b"no json", content_type="application/json", content_encoding="utf-8", routing_key="transactional"
        )
        producer.publish(
            b"pickle",
            content_type="application/x-python-serialize",
            content_encoding="binary",
            routing_key="transactional",
        )
    accepted = town.send_many(20, "beaten")
    town.wait_until_settled()
    wait_until(lambda: _is_empty(town))
    time.sleep(1)
    tally = town.tally(accepted)
    tell(tally.line("F7 (two beats, poisoned queue)"))
    assert (tally.delivered, tally.lost, tally.most) == (20, 0, 1)
    assert all(process.is_running() for process in [*town.workers(), town.running["beat"], second_beat])
    second_beat.kill()


def _is_empty(town: Town) -> bool:
    with town.redis.client(1) as broker:
        return broker.llen("transactional") == 0
