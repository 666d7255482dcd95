"""What a dispatcher does with what it claimed: who is served first, what is given back, which way a message takes."""

import threading
from datetime import timedelta

import pytest
from celery import Celery
from sqlalchemy.exc import OperationalError

from email_service.delivery import outbox, tasks
from email_service.delivery.runner import Runner
from email_service.delivery.transport import Report
from email_service.engine import create_dispatcher, create_tidy
from email_service.kernel import clock
from tests.applications import PASSWORD_RESET
from tests.journeys.processes import wait_until
from tests.scripted_transport import ACCEPTED, Scripted


class ProcessEndedError(BaseException):
    """What no guard in the house may catch."""


class Gate(Scripted):
    """Holds every message at the server's door until it is opened; tokens have a door of their own."""

    def __init__(self) -> None:
        super().__init__([ACCEPTED])
        self.arrived, self.is_open = threading.Semaphore(0), threading.Event()

    def send(self, **given) -> Report:
        if b"Subject: Reset" not in given["parcel"].content:
            self.arrived.release()
            assert self.is_open.wait(60)
        return super().send(**given)


@pytest.fixture
def statuses(house):
    return lambda: sorted(row[0] for row in house.execute("SELECT status FROM messages"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_end_that_nobody_foresaw_gives_back_what_was_not_begun(house, client_id, statuses):
    """F2: only the message in hand may count as lost."""
    for _ in range(4):
        house.accept(client_id)
    with house.delivering(Scripted([ACCEPTED, ProcessEndedError()])) as dispatcher:
        dispatcher.drain("transactional")
        wait_until(lambda: "sent" in statuses())
    assert statuses() == ["queued", "queued", "sending", "sent"]


def test_a_message_that_the_transport_began_early_is_sent_next(house, client_id, statuses):
    for _ in range(5):
        house.accept(client_id)
    transport = Scripted([ACCEPTED], is_pipelining=True)
    house.deliver(transport)
    assert transport.parcels[1:] == [each for each in transport.begun if each is not None]
    assert statuses() == ["sent"] * 5


def test_one_client_does_not_delay_another(either, add_client):
    """Guarantee 4: a hundred messages of one client are due longer than the one of the other."""
    crowd, single = add_client(either, "crowd"), add_client(either, "single")
    for _ in range(100):
        either.accept(crowd)
    message_id = either.accept(single, to={"email": "single@example.com", "name": ""})
    transport = Scripted([ACCEPTED])
    either.deliver(transport)
    place = [parcel.recipient for parcel in transport.parcels].index("single@example.com")
    assert place <= 10
    assert either.message(message_id).status == "sent"


def test_a_worker_is_kept_free_for_tokens_whatever_waits(house, client_id, statuses):
    """Guarantee 4: with every other connection taken by bulk mail, a token still goes out at once."""
    for _ in range(10):
        house.accept(client_id, lane="bulk")
    gate = Gate()
    with house.delivering(gate, connections=3) as dispatcher:
        try:
            dispatcher.drain("bulk")
            assert gate.arrived.acquire(timeout=30)
            assert gate.arrived.acquire(timeout=30)
            token_id = house.accept(client_id, **PASSWORD_RESET)
            dispatcher.drain("token")
            wait_until(lambda: house.message(token_id).status == "sent")
            assert statuses().count("sent") == 1
        finally:
            gate.is_open.set()
        dispatcher.settle()
    assert statuses() == ["sent"] * 11


def test_leases_of_what_waits_here_are_renewed(house, client_id, reopen):
    """F10: a slow server costs no lease."""
    slow_house = reopen(DELIVERY_LEASE_SECONDS="5")
    message_id = house.accept(client_id)
    gate = Gate()
    with slow_house.delivering(gate) as dispatcher:
        dispatcher.drain("transactional")
        assert gate.arrived.acquire(timeout=30)
        first = house.message(message_id).due_at
        wait_until(lambda: house.message(message_id).due_at - first > timedelta(seconds=1))
        gate.is_open.set()
        dispatcher.settle()
    assert house.message(message_id).status == "sent"


def test_a_job_whose_lease_may_end_during_the_attempt_is_not_begun(house, client_id, statuses):
    """Guarantee 3: whoever takes it over must not meet this process at the same message."""
    house.accept(client_id)
    house.accept(client_id)
    gate = Gate()
    with house.delivering(gate) as dispatcher:
        dispatcher.drain("transactional")
        assert gate.arrived.acquire(timeout=30)
        for job in dispatcher._held.values():
            job.ends_at_seconds = clock.monotonic_seconds() + 1
        gate.is_open.set()
        dispatcher.settle()
    assert statuses() == ["queued", "sent"]


def test_what_nobody_began_goes_back_as_soon_as_the_database_takes_it(house, client_id, statuses, monkeypatch):
    """F4, F11: it need not wait for its lease to end."""
    house.accept(client_id)
    house.accept(client_id)
    gate, give_back, failures = Gate(), outbox.give_back, iter([OperationalError("UPDATE", {}, Exception("disk full"))])

    def fail_first(*given) -> None:
        for failure in failures:
            raise failure
        give_back(*given)

    monkeypatch.setattr(outbox, "give_back", fail_first)
    with house.delivering(gate) as dispatcher:
        dispatcher.drain("transactional")
        assert gate.arrived.acquire(timeout=30)
        dispatcher.ask_to_stop()
        gate.is_open.set()
    assert next(failures, None) is None
    assert statuses() == ["queued", "sent"]


def test_a_message_that_expires_while_it_waits_for_a_worker_is_not_sent(house, client_id, statuses):
    """Issue 3: expiry is checked before every attempt."""
    house.accept(client_id)
    expires_at = clock.now() + timedelta(seconds=2)
    house.accept(client_id, expires_at=expires_at)
    gate = Gate()
    with house.delivering(gate) as dispatcher:
        dispatcher.drain("transactional")
        assert gate.arrived.acquire(timeout=30)
        wait_until(lambda: clock.now() > expires_at)
        gate.is_open.set()
        dispatcher.settle()
        dispatcher.drain("transactional")
        dispatcher.settle()
    assert (statuses(), len(gate.parcels)) == (["expired", "sent"], 1)


def test_a_celery_task_drains_its_lane_and_leaves_the_others_alone(house, client_id, statuses):
    house.accept(client_id, lane="bulk")
    house.accept(client_id)
    celery = Celery(set_as_current=False)
    runner = Runner(create_dispatcher(house.app, ["bulk"], 1), ["bulk"], {})
    tasks.register(celery, wake=runner.wake, tidy=create_tidy(house.app), ask_to_stop=runner.ask_to_stop)
    runner.start()
    celery.tasks[tasks.DRAIN]("bulk")
    celery.tasks[tasks.DRAIN]("transactional")
    wait_until(lambda: "sent" in statuses())
    assert runner.stop(30)
    assert statuses() == ["queued", "sent"]
