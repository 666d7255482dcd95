"""The queue: who gets which message, when, and what happens when nobody brings it back."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update
from time_machine import travel

from email_service.delivery import opening, outbox
from email_service.kernel import clock
from email_service.kernel.errors import StatusConflictError
from email_service.kernel.orm import database_now, new_id
from email_service.messages import life
from email_service.messages.models import Event, Message
from email_service.messages.state import Status
from tests.applications import CATALOG

LEASE_SECONDS = 180.0


def rows_of(client_id, count: int, **fields) -> list[dict]:
    """Due messages, without what the queue does not look at."""
    usual = {
        "client_id": client_id,
        "template": "welcome",
        "template_version": "1",
        "lane": "transactional",
        "status": Status.QUEUED,
        "recipient_email": "ada@example.com",
        "recipient_name": "",
        "cc": [],
        "bcc": [],
        "headers": {},
        "is_sensitive": False,
        "tags": [],
        "metadata_": {},
        "message_id_header": "<1@example.com>",
        "created_at": clock.now(),
        "due_at": clock.now() - timedelta(seconds=1),
    }
    return [{**usual, "id": new_id(), **fields} for _ in range(count)]


def add(house, client_id, count: int = 1, **fields) -> list:
    rows = rows_of(client_id, count, **fields)
    with house.sessions.begin() as session:
        session.execute(insert(Message), rows)
    return [row["id"] for row in rows]


def end_leases(house) -> None:
    """Let every lease that is held run out now, by the database's clock."""
    ended = update(Message).where(Message.lease_id.is_not(None)).values(due_at=database_now(timedelta(seconds=-1)))
    house.execute(ended)


@pytest.mark.parametrize(("fixture", "count", "threads"), [("on_postgres", 2000, 4), ("house", 400, 4)])
def test_two_claimers_never_hold_the_same_message(request, add_client, fixture, count, threads):
    """F8: on PostgreSQL this is a race, on SQLite it shows that waiting for the lock loses nothing."""
    house = request.getfixturevalue(fixture)
    ids = add(house, add_client(house), count)
    taken: Counter = Counter()
    faults: list[Exception] = []
    start, lock = threading.Barrier(threads), threading.Lock()

    def work() -> None:
        start.wait()
        try:
            while leases := house.claim(limit=20):
                with lock:
                    taken.update(lease.message_id for lease in leases)
        except Exception as error:
            faults.append(error)
            raise

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not faults
    assert taken == Counter(ids)


def test_a_claim_holds_its_messages_against_the_next_claim(either, add_client):
    [message_id] = add(either, add_client(either))
    [lease] = either.claim()
    assert (lease.message_id, lease.claimed_from) == (message_id, Status.QUEUED)
    assert either.claim() == []
    message = either.message(message_id)
    assert (message.status, message.lease_id) == ("sending", lease.lease_id)


def test_a_claim_takes_no_more_than_it_asked_for(either, add_client):
    add(either, add_client(either), 7)
    assert [len(either.claim(limit=3)) for _ in range(4)] == [3, 3, 1, 0]


@pytest.mark.parametrize(
    ("fields", "is_taken"),
    [
        ({"due_at": None}, False),
        ({"due_at": "later"}, False),
        ({"status": Status.SCHEDULED}, True),
        ({"status": Status.DEFERRED}, True),
        ({"status": Status.UNCERTAIN}, True),
        ({"status": Status.SENT, "due_at": None}, False),
    ],
)
def test_only_what_is_due_is_taken(either, add_client, fields, is_taken):
    due_at = fields.get("due_at", clock.now() - timedelta(seconds=1))
    when = clock.now() + timedelta(minutes=1) if due_at == "later" else due_at
    add(either, add_client(either), **{**fields, "due_at": when})
    assert bool(either.claim()) is is_taken


def test_token_mail_goes_first_and_the_longest_due_goes_before_the_others(either, add_client):
    client_id = add_client(either)
    bulk = add(either, client_id, 2, lane="bulk", due_at=clock.now() - timedelta(hours=1))
    ordinary = add(either, client_id, 2)
    [waiting] = add(either, client_id, due_at=clock.now() - timedelta(minutes=1))
    token = add(either, client_id, 2, lane="token")
    taken = [[lease.message_id for lease in either.claim(limit=limit)] for limit in (2, 1, 2, 2)]
    assert [set(each) for each in taken] == [set(token), {waiting}, set(ordinary), set(bulk)]


def test_a_lane_is_served_only_by_those_who_serve_it(either, add_client):
    client_id = add_client(either)
    add(either, client_id, lane="bulk")
    [token] = add(either, client_id, lane="token")
    assert [lease.message_id for lease in either.claim(lanes=["token"])] == [token]
    assert either.claim(lanes=["token", "transactional"]) == []
    assert either.claim(lanes=()) == []


def test_a_lost_lease_is_taken_over_and_counted(either, add_client):
    """F1, F2"""
    [message_id] = add(either, add_client(either))
    [first] = either.claim()
    end_leases(either)
    [second] = either.claim()
    assert (second.message_id, second.claimed_from) == (message_id, Status.SENDING)
    assert second.lease_id != first.lease_id
    assert either.message(message_id).lost_lease_count == 1
    with either.sessions.begin() as session:
        assert outbox.find_leased(session, first) is None
        assert outbox.find_leased(session, second).id == message_id


def test_a_message_that_nobody_began_to_send_goes_back_as_it_was(either, add_client):
    client_id = add_client(either)
    add(either, client_id, status=Status.QUEUED)
    add(either, client_id, status=Status.DEFERRED)
    leases = either.claim()
    kept, returned = leases
    with either.sessions.begin() as session:
        outbox.give_back(session, [returned])
    message = either.message(returned.message_id)
    assert (message.status, message.lease_id, message.claimed_from) == (returned.claimed_from, None, None)
    assert either.message(kept.message_id).status == "sending"
    assert [lease.message_id for lease in either.claim()] == [returned.message_id]


def test_giving_back_a_lost_lease_takes_nothing_from_its_new_holder(either, add_client):
    """F1"""
    add(either, add_client(either))
    [lost] = either.claim()
    end_leases(either)
    [held] = either.claim()
    with either.sessions.begin() as session:
        outbox.give_back(session, [lost])
    message = either.message(held.message_id)
    assert (message.status, message.lease_id) == ("sending", held.lease_id)


def test_a_loss_is_counted_and_told_once_however_often_the_message_is_given_back(either, add_client):
    """F1: each time its route is still down, for hours perhaps. Meanwhile it may have left, so nobody cancels it."""
    client_id = add_client(either)
    [message_id] = add(either, client_id)
    either.claim()
    end_leases(either)
    for number in range(4):
        with either.sessions.begin() as session:
            [lease] = outbox.claim(session, "transactional", client_id, 10, LEASE_SECONDS)
            opening.open_claimed(session, CATALOG, [lease])
        assert (lease.claimed_from, lease.is_after_loss) == (Status.SENDING, number == 0)
        with either.sessions.begin() as session:
            outbox.give_back(session, [lease], held_by=outbox.Hold.ROUTE_DOWN)
        message = either.message(message_id)
        assert (message.status, message.lease_id, message.lost_lease_count) == ("sending", None, 1)
        with either.sessions.begin() as session, pytest.raises(StatusConflictError):
            life.cancel(session, client_id, message_id)
    with either.sessions.begin() as session:
        names = list(session.scalars(select(Event.name).where(Event.message_id == message_id)))
    assert names.count("message.lease_lost") == 1
    # A worker that dies with it all the same is another loss.
    either.claim()
    end_leases(either)
    [lease] = either.claim()
    assert (lease.is_after_loss, either.message(message_id).lost_lease_count) == (True, 2)


def test_leases_and_due_times_go_by_the_clock_of_the_database(either, add_client):
    """F12: a worker whose clock is two hours fast takes nothing that is not due and no lease that still holds."""
    client_id = add_client(either)
    [held] = add(either, client_id)
    add(either, client_id, due_at=clock.now() + timedelta(hours=1))
    [lease] = either.claim()
    with travel(clock.now() + timedelta(hours=2)):
        assert either.claim() == []
    remaining = either.execute(select(Message.due_at, database_now()).where(Message.id == held))[0]
    assert LEASE_SECONDS - 30 < (remaining[0] - remaining[1]).total_seconds() <= LEASE_SECONDS
    assert lease.ends_at_seconds - clock.monotonic_seconds() <= LEASE_SECONDS


def test_expiry_goes_by_the_clock_of_the_database(either, add_client):
    """F12"""
    client_id = add_client(either)
    later, over = clock.now() + timedelta(hours=1), clock.now() - timedelta(seconds=1)
    ids = [add(either, client_id, expires_at=when)[0] for when in (later, over, None)]
    leases = either.claim()
    with travel(clock.now() + timedelta(hours=2)), either.sessions.begin() as session:
        rows = outbox.read_claimed(session, leases)
    found = {row.id: row.expires_at is not None and row.expires_at <= row.read_at for row in rows}
    assert [found[each] for each in ids] == [False, True, False]
