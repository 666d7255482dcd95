"""One question, one write: what `POST /v1/messages` asks of the database, and that a key which ends is out at once."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from time_machine import travel

from email_service.clients import service as clients
from email_service.idempotency import service as idempotency
from email_service.idempotency.service import Scope
from email_service.kernel import clock
from email_service.kernel.errors import IdempotencyInFlightError
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests.applications import Api


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request) -> Api:
    return request.getfixturevalue("api" if request.param == "sqlite" else "on_postgres")


@contextmanager
def statements():
    """What is said to the database meanwhile, and each BEGIN and COMMIT."""
    said: list[str] = []

    def note(*arguments) -> None:
        said.append(arguments[2].split(None, 1)[0])

    def note_commit(_connection) -> None:
        said.append("COMMIT")

    listeners = {"before_cursor_execute": note, "commit": note_commit}
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield said
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)


def revoke(api: Api) -> None:
    with api.house.sessions.begin() as session:
        clients.revoke(session, "shop")


def count(api: Api, table: str = "messages") -> int:
    return api.house.execute(f"SELECT count(*) FROM {table}")[0][0]


def test_an_accept_is_one_question_and_one_write(on_postgres):
    """What is accepted is one statement, so it needs no transaction around it and cannot be written by halves."""
    on_postgres.send(key="warm-up")
    with statements() as said:
        assert on_postgres.send(key="order-42").status_code == 202
    assert said == ["SELECT", "WITH"]


def test_a_suppressed_accept_is_one_write_too(on_postgres):
    with on_postgres.house.sessions.begin() as session:
        suppressions.suppress(session, "ada@example.com", Reason.COMPLAINT)
    on_postgres.send()
    with statements() as said:
        assert on_postgres.send(key="order-42").json["status"] == "suppressed"
    assert said == ["SELECT", "WITH"]


def test_a_write_that_fails_leaves_nothing(on_postgres):
    """F3: never a message without its record, nor a record without its message."""
    on_postgres.house.execute("ALTER TABLE message_events ADD CONSTRAINT no_more CHECK (false) NOT VALID")
    try:
        assert on_postgres.send(key="order-42").status_code == 500
    finally:
        on_postgres.house.execute("ALTER TABLE message_events DROP CONSTRAINT no_more")
    tables = ("messages", "message_contents", "message_events", "idempotency_records")
    assert [count(on_postgres, table) for table in tables] == [0] * 4
    assert on_postgres.send(key="order-42").status_code == 202


def test_a_key_revoked_between_two_calls_is_out_at_once(anywhere):
    """T24"""
    assert anywhere.send(key="order-42").status_code == 202
    revoke(anywhere)
    refused = [anywhere.send(), anywhere.send(key="order-42"), anywhere.send(key="order-43")]
    assert [(each.status_code, each.json["code"]) for each in refused] == [(401, "unauthenticated")] * 3
    assert (count(anywhere), count(anywhere, "idempotency_records")) == (1, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.send(to="nobody"),
        lambda api: api.send(template="no-such-template"),
        lambda api: api.send(key="\x7f"),
        lambda api: api.raw(b"{"),
        lambda api: api.raw(b"<xml/>", content_type="text/xml"),
    ],
    ids=["address", "template", "header", "body", "type"],
)
def test_a_revoked_key_learns_nothing_from_a_wrong_request_either(api, call):
    """T24"""
    assert api.send().status_code == 202
    revoke(api)
    assert (call(api).status_code, call(api).json["code"]) == (401, "unauthenticated")


def test_a_revoked_key_is_401_before_it_is_over_its_quota(house, reopen):
    """T24"""
    limited = reopen(API_RATE_LIMIT="2/minute")
    api = Api(limited, limited.add_client())
    assert [api.send().status_code for _ in range(3)] == [202, 202, 429]
    revoke(api)
    assert api.send().status_code == 401


def test_a_key_that_a_rotation_ends_is_out_at_once(anywhere):
    """T24, F16"""
    with travel(clock.now(), tick=False) as traveller:
        assert anywhere.send().status_code == 202
        with anywhere.house.sessions.begin() as session:
            new = Api(anywhere.house, clients.rotate(session, "shop", timedelta(seconds=30)))
        assert [each.send().status_code for each in (anywhere, new)] == [202, 202]
        traveller.shift(30)
        assert [each.send().status_code for each in (anywhere, new)] == [401, 202]


def test_a_key_that_is_remembered_opens_only_to_its_whole_self(api):
    """T24"""
    assert api.send().status_code == 202
    wrong = Api(api.house, api.key[:-1] + ("A" if api.key[-1] != "A" else "B"))
    assert [wrong.send().status_code, Api(api.house, api.key[:16]).send().status_code] == [401, 401]


def test_a_revoked_key_that_is_presented_on_counts_as_a_strangers(house, reopen):
    """T24"""
    limited = reopen(PUBLIC_RATE_LIMIT="2/minute")
    api = Api(limited, limited.add_client())
    assert api.send().status_code == 202
    revoke(api)
    assert [api.send().status_code for _ in range(3)] == [401, 401, 429]


def test_a_scope_is_asked_for_whether_or_not_the_key_is_remembered(house):
    """T24"""
    api = Api(house, house.add_client("reader", ["messages:read"]))
    assert [api.send().status_code for _ in range(2)] == [403, 403]


def test_another_clients_record_is_never_found(anywhere):
    """T31"""
    mine = anywhere.send(key="order-42").json["id"]
    stranger = Api(anywhere.house, anywhere.house.add_client("stranger"))
    assert stranger.send(key="order-42").json["id"] != mine
    assert anywhere.send(key="order-42").json["id"] == mine


def test_a_record_that_protects_nothing_any_more_makes_room(anywhere):
    with travel(clock.now(), tick=False) as traveller:
        first = anywhere.send(key="order-42").json["id"]
        traveller.shift(timedelta(hours=73))
        second = anywhere.send(key="order-42")
        assert ("Idempotent-Replayed" in second.headers, second.json["id"] != first) == (False, True)
        assert anywhere.send(key="order-42").json["id"] == second.json["id"]


def test_who_looked_before_another_committed_is_told_to_come_back(on_postgres):
    """T31: the key's record arbitrates among those who saw none."""
    with on_postgres.house.sessions() as session:
        client_id = clients.get(session, "shop").id
    assert on_postgres.send(key="order-42").status_code == 202
    scope = Scope(client_id, "messages.send", "order-42", {})
    with on_postgres.house.sessions() as late, pytest.raises(IdempotencyInFlightError):
        idempotency.write(late.connection(), [scope.record("a second answer")])
    assert count(on_postgres) == 1


def test_a_single_write_refuses_to_be_several(on_postgres):
    """Outside of a transaction, many rows could be written by halves."""
    with on_postgres.house.sessions() as session:
        client_id = clients.get(session, "shop").id
    rows = [Scope(client_id, "messages.send", f"key-{number}", {}).record(1) for number in range(30)]
    with on_postgres.house.parts.glances() as session, pytest.raises(AssertionError):
        idempotency.write(session.connection(), rows)
    assert on_postgres.house.execute(text("SELECT count(*) FROM idempotency_records")) == [(0,)]
