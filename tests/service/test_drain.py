"""What a drain does with the messages it claimed and did not come to, and what closes the breaker."""

import threading
from dataclasses import replace

import pytest
from celery import Celery

from email_service.app import create_drain_factory, create_tidy
from email_service.delivery import tasks
from email_service.delivery.transport import Outcome, Phase, Report
from email_service.messages.service import LANES
from tests.scripted_transport import ACCEPTED, DOWN, Scripted

RESET = {"template": "password-reset", "variables": {"action_url": "https://app.example.com/reset?token=1"}}


class ProcessEndedError(BaseException):
    """What no guard in the house may catch."""


@pytest.fixture
def statuses(house):
    return lambda: sorted(row[0] for row in house.execute("SELECT status FROM messages"))


def test_an_end_that_nobody_foresaw_gives_back_what_was_not_begun(house, client_id, statuses):
    """F2: only the message in hand may count as lost."""
    for _ in range(4):
        house.accept(client_id)
    with pytest.raises(ProcessEndedError):
        house.deliver(Scripted([ACCEPTED, ProcessEndedError()]))
    assert statuses() == ["queued", "queued", "sending", "sent"]


def test_a_message_that_never_reached_a_server_does_not_close_the_breaker(house, client_id):
    """F9, F13"""
    house.accept(client_id)
    house.accept(client_id)
    drain = house.drain(Scripted([DOWN]))
    drain.run(lambda: False)
    assert drain.breaker.is_open()
    drain._watch(Report(outcome=Outcome.REFUSED, phase=Phase.PREPARE, reply="cannot be rendered"))
    assert drain.breaker.is_open()
    drain._watch(ACCEPTED)
    assert not drain.breaker.is_open()


class Gate(Scripted):
    """Holds every message at the server's door until it is opened."""

    def __init__(self) -> None:
        super().__init__([ACCEPTED])
        self.arrived, self.is_open = threading.Semaphore(0), threading.Event()

    def send(self, *, parcel):
        self.arrived.release()
        assert self.is_open.wait(20)
        return super().send(parcel=parcel)


def test_a_celery_worker_keeps_a_thread_free_for_tokens_whatever_waits(house, client_id, statuses):
    """Guarantee 4: with every other place taken by bulk mail, a token still goes out at once."""
    make, gate, quick = create_drain_factory(house.app), Gate(), Scripted([ACCEPTED])

    def make_drain(lanes):
        drain = make(lanes)
        drain.worker = replace(drain.worker, transport=quick if tuple(lanes) == ("token",) else gate)
        return drain

    celery = Celery(set_as_current=False)
    tasks.register(celery, make_drain, create_tidy(house.app), LANES, threads=3)
    drain = celery.tasks[tasks.DRAIN]
    for _ in range(30):
        house.accept(client_id, lane="bulk")
    slow = [threading.Thread(target=drain, args=["bulk"]) for _ in range(2)]
    for thread in slow:
        thread.start()
    assert gate.arrived.acquire(timeout=20)
    assert gate.arrived.acquire(timeout=20)
    drain("bulk")  # finds no place and returns, or the token below would wait for it
    house.accept(client_id, **RESET)
    drain("token")
    assert [parcel.recipient for parcel in quick.parcels] == ["ada@example.com"]
    gate.is_open.set()
    for thread in slow:
        thread.join(20)
    assert statuses() == ["sent"] * 31


def test_a_worker_for_one_lane_leaves_the_others_alone(house, client_id, statuses):
    house.accept(client_id, lane="bulk")
    house.accept(client_id)
    celery = Celery(set_as_current=False)
    tasks.register(celery, create_drain_factory(house.app), create_tidy(house.app), ["bulk"], threads=1)
    celery.tasks[tasks.DRAIN]("bulk")
    assert statuses() == ["queued", "sent"]
