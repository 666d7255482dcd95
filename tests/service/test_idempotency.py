"""The same key twice is one deed: recorded with what it did, bound to client, route and body."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import update
from time_machine import travel

from email_service.idempotency import service as idempotency
from email_service.idempotency.models import IdempotencyRecord
from email_service.idempotency.service import Scope, once
from email_service.kernel import clock
from email_service.kernel.errors import IdempotencyInFlightError, IdempotencyKeyReusedError
from email_service.kernel.orm import database_now

BODY = {"template": "welcome", "to": "ada@example.com"}


@pytest.fixture
def scope(client_id):
    return Scope(client_id, "messages.send", "key-1", BODY)


def with_changes(scope: Scope, **changes) -> Scope:
    fields = {"client_id": scope.client_id, "route": scope.route, "key": scope.key, "body": scope.body}
    return Scope(**{**fields, **changes})


def answer(house, scope: Scope, act=lambda: {"id": 1}):
    with house.sessions.begin() as session:
        return once(session, scope, act)


def test_the_second_request_gets_the_first_answer_and_nothing_is_done_again(house, scope):
    done = []
    for _ in range(3):
        result = answer(house, scope, lambda: done.append(1) or {"id": len(done)})
    assert (result, done) == (({"id": 1}, True), [1])


def test_white_space_and_the_order_of_members_make_no_difference(house, scope):
    answer(house, scope)
    assert answer(house, with_changes(scope, body=dict(reversed(BODY.items()))))[1]


@pytest.mark.parametrize("body", [{}, {**BODY, "to": "eve@example.com"}, {**BODY, "tags": []}, None, [BODY]])
def test_another_body_under_the_same_key_is_refused(house, scope, body):
    """T31"""
    answer(house, scope)
    with pytest.raises(IdempotencyKeyReusedError):
        answer(house, with_changes(scope, body=body))


def test_another_client_and_another_route_know_nothing_of_the_key(house, scope, add_client):
    """T31"""
    answer(house, scope)
    stranger = with_changes(scope, client_id=add_client(house, "stranger"), body={})
    assert answer(house, stranger, lambda: "theirs") == ("theirs", False)
    assert answer(house, with_changes(scope, route="tokens.issue", body={}), lambda: "other") == ("other", False)


def test_a_deed_that_fails_leaves_no_record(house, scope):
    """T31: the key is free for the corrected request."""
    with pytest.raises(ZeroDivisionError):
        answer(house, scope, lambda: 1 / 0)
    assert answer(house, with_changes(scope, body={"other": "body"})) == ({"id": 1}, False)


def test_a_key_is_fresh_again_after_72_hours(house, scope):
    with travel(clock.now(), tick=False) as traveller:
        answer(house, scope, lambda: "first")
        traveller.shift(timedelta(hours=72, seconds=-1))
        assert answer(house, scope) == ("first", True)
        traveller.shift(1)
        assert answer(house, with_changes(scope, body={}), lambda: "second") == ("second", False)
        assert answer(house, with_changes(scope, body={})) == ("second", True)


def test_what_protects_nobody_any_more_is_forgotten_in_batches(either, add_client):
    client_id = add_client(either)
    scopes = [Scope(client_id, "messages.send", f"key-{number}", {}) for number in range(5)]
    for scope in scopes:
        answer(either, scope)
    old = IdempotencyRecord.key != "key-4"
    either.execute(update(IdempotencyRecord).where(old).values(created_at=database_now(timedelta(hours=-73))))
    forgotten = []
    for _ in range(3):
        with either.sessions.begin() as session:
            forgotten.append(idempotency.forget_old(session, limit=3))
    assert forgotten == [3, 1, 0]
    assert answer(either, scopes[4])[1]


def test_a_request_still_in_flight_is_told_to_come_back(on_postgres, add_client):
    """T31"""
    scope = Scope(add_client(on_postgres), "messages.send", "key-1", BODY)
    with on_postgres.sessions.begin() as first:
        once(first, scope, lambda: "first")
        with on_postgres.sessions.begin() as second, pytest.raises(IdempotencyInFlightError) as caught:
            once(second, scope, lambda: "second")
        assert caught.value.retry_after_seconds == 1
    assert answer(on_postgres, scope) == ("first", True)


def test_a_request_that_died_in_flight_does_not_keep_the_key(on_postgres, add_client):
    scope = Scope(add_client(on_postgres), "messages.send", "key-1", BODY)
    with on_postgres.sessions() as session:
        once(session, scope, lambda: "lost")
        session.rollback()
    assert answer(on_postgres, scope, lambda: "second") == ("second", False)


def test_fifty_at_once_do_it_once(on_postgres, add_client):
    """T31"""
    scope = Scope(add_client(on_postgres), "messages.send", "key-1", BODY)
    seen: Counter = Counter()
    done: list[int] = []
    start, lock = threading.Barrier(10), threading.Lock()

    def work() -> None:
        start.wait()
        for _ in range(5):
            try:
                result = answer(on_postgres, scope, lambda: done.append(1) or "answer")
            except IdempotencyInFlightError:
                result = "in flight"
            with lock:
                seen[result] += 1

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 1
    assert seen[("answer", False)] == 1
    assert set(seen) <= {("answer", False), ("answer", True), "in flight"}
    assert seen.total() == 50
