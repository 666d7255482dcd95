"""Idempotency-Key over HTTP: one message for one key, however often and however fast it is asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from email_service.clients import service as clients
from email_service.idempotency.service import Scope, once
from tests.applications import Api


def count(api: Api, table: str = "messages") -> int:
    return api.house.execute(f"SELECT count(*) FROM {table}")[0][0]


def test_the_same_request_gets_the_same_answer_and_is_marked_as_replayed(api):
    first, second = api.send(key="order-42"), api.send(key="order-42")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.data == second.data
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert count(api) == 1


def test_the_answer_stays_what_it_was_when_the_message_moves_on(api):
    first = api.send(key="order-42")
    api.house.deliver()
    assert api.send(key="order-42").json == first.json
    assert api.house.deliver() == 0


def test_another_body_under_the_same_key_is_422(api):
    """T31"""
    api.send(key="order-42")
    response = api.send(key="order-42", to="eve@example.com")
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")
    assert count(api) == 1


def test_another_client_with_the_same_key_is_fresh(api):
    """T31"""
    stranger = Api(api.house, api.house.add_client("stranger"))
    first, theirs = api.send(key="order-42"), stranger.send(key="order-42", to="eve@example.com")
    assert theirs.status_code == 202
    assert "Idempotent-Replayed" not in theirs.headers
    assert theirs.json["id"] != first.json["id"]


def test_both_keys_of_one_client_share_its_idempotency_keys(api):
    """T31: a retry may come after a rotation."""
    first = api.send(key="order-42")
    with api.house.sessions.begin() as session:
        rotated = Api(api.house, clients.rotate(session, "shop"))
    assert rotated.send(key="order-42").json == first.json


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"to": "nobody"}, 422), ({"template": "no-such-template"}, 422), ({"lane": "token"}, 422)],
)
def test_a_refused_request_records_nothing_and_frees_the_key(api, changes, status):
    """T31"""
    assert api.send(key="order-42", **changes).status_code == status
    assert count(api, "idempotency_records") == 0
    fresh = api.send(key="order-42")
    assert (fresh.status_code, "Idempotent-Replayed" in fresh.headers) == (202, False)


def test_without_a_key_every_request_is_its_own(api):
    assert len({api.send().json["id"] for _ in range(3)}) == 3
    assert count(api, "idempotency_records") == 0


@pytest.mark.parametrize(
    "key", ["a", "~" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"', "!#$%&'*+", "order 42 of ada"]
)
def test_a_key_of_printable_characters_is_taken(on_postgres, key):
    assert on_postgres.send(key=key).status_code == 202
    assert on_postgres.send(key=key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", "a" * 256, "tab\there", "é", "\x7f"])
def test_a_key_that_is_too_long_or_cannot_be_printed_is_refused(api, key):
    response = api.send(key=key)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/Idempotency-Key"]
    assert count(api) == 0


def test_no_recorded_answer_holds_a_variable(api):
    """T2, T31"""
    api.send(key="order-42", variables={"name": "Wq7-marker"})
    assert "Wq7-marker" not in str(api.house.execute("SELECT * FROM idempotency_records"))


def test_fifty_at_once_make_one_message(on_postgres):
    """T31: on PostgreSQL, every answer is the one 202 or says that it is too early."""
    start = threading.Barrier(50)

    def call(_: int):
        start.wait()
        return on_postgres.send(key="order-42")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(call, range(50)))
    assert count(on_postgres) == 1
    [message] = on_postgres.get("/v1/messages").json["data"]
    taken = [answer for answer in answers if answer.status_code == 202]
    early = [answer for answer in answers if answer.status_code == 409]
    assert len(taken) + len(early) == 50
    assert {answer.json["id"] for answer in taken} == {message["id"]}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in taken) == 1
    assert {(answer.json["code"], answer.headers["Retry-After"]) for answer in early} <= {
        ("idempotency_in_flight", "1")
    }


def test_a_request_that_comes_too_early_is_409_with_a_time(on_postgres):
    """T31: somebody else's transaction still works under the key."""
    with on_postgres.house.sessions.begin() as session:
        client_id = clients.get(session, "shop").id
        once(session, Scope(client_id, "messages.send", "order-42", {}), lambda: "nothing")
        response = on_postgres.send(key="order-42")
        assert (response.status_code, response.json["code"]) == (409, "idempotency_in_flight")
        assert response.headers["Retry-After"] == "1"
        session.rollback()
    assert on_postgres.send(key="order-42").status_code == 202
