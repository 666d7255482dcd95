"""`GET /v1/messages/{id}/explain`: the one reason, a sentence, and what shows it, on both databases."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, insert, select, update

from email_service.delivery import outbox
from email_service.delivery.models import RouteBreaker
from email_service.kernel import clock
from email_service.kernel.orm import Base, database_now, new_id
from email_service.messages import life
from email_service.messages.models import DeliveryAttempt, Message
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests.applications import RESET, Api

HOUR = timedelta(hours=1)
HOSTILE = "<script>alert(1)</script> \u201cnot now\u201d"
RELAY = {"MAIL_SERVER": "mail.example.com", "MAIL_DEFAULT_SENDER": "shop@example.com"}


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    return Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")


@pytest.fixture
def message_id(api) -> str:
    return api.send().json["id"]


def explain(api, message_id) -> dict:
    response = api.get(f"/v1/messages/{message_id}/explain")
    assert response.status_code == 200, response.text
    return response.json


def become(api, message_id, **values) -> None:
    api.house.execute(update(Message).where(Message.id == UUID(message_id)).values(**values))


def add_attempt(api, message_id, **fields) -> None:
    now = clock.now()
    row = {"transport": "smtp", "outcome": "retry_later", "phase": "rcpt", "reply": "", "refused": {}, **fields}
    row |= {"id": new_id(), "message_id": UUID(message_id), "started_at": now, "finished_at": now}
    api.house.execute(insert(DeliveryAttempt).values(**row))


def add_outage(api, route: str = "smtp") -> None:
    until = database_now(timedelta(seconds=30))
    row = {"route": route, "reason": "535 no", "tripped_at": clock.now(), "failure_count": 2, "open_until": until}
    api.house.execute(insert(RouteBreaker).values(**row))


def test_a_due_message_waits_behind_others_of_its_lane(api):
    others = [api.send().json["id"] for _ in range(3)]
    stranger = Api(api.house, api.house.add_client("stranger"))
    others += [stranger.send().json["id"] for _ in range(2)]
    mine = api.send().json["id"]
    for each in others:
        become(api, each, due_at=database_now(-HOUR))
    become(api, stranger.send(lane="bulk").json["id"], due_at=database_now(-HOUR))
    api.send(send_at=(clock.now() + HOUR).isoformat())
    found = explain(api, mine)
    assert (found["status"], found["reason"]) == ("queued", "waiting")
    assert "behind 3 of the same client and 5 in all in the lane transactional" in found["detail"]
    assert found["next_attempt_at"] == api.get(f"/v1/messages/{mine}").json["next_attempt_at"]
    assert found["evidence"] == {"attempt": None, "suppression": None, "breaker": None}


def test_what_waits_before_a_message_is_counted_only_so_far(api, message_id):
    row = dict(api.house.execute(select(Base.metadata.tables["messages"]))[0]._mapping)
    early = clock.now() - HOUR
    with api.house.sessions.begin() as session:
        table = Base.metadata.tables["messages"]
        session.execute(insert(table), [{**row, "id": new_id(), "due_at": early} for _ in range(1001)])
    assert "behind more than 1000 of the same client and more than 1000 in all" in explain(api, message_id)["detail"]


def test_a_scheduled_message_says_when(api):
    send_at = clock.now() + HOUR
    message_id = api.send(send_at=send_at.isoformat()).json["id"]
    found = explain(api, message_id)
    assert (found["reason"], found["next_attempt_at"]) == ("scheduled", clock.written(send_at))
    assert clock.written(send_at) in found["detail"]


def test_a_greylisted_message_shows_the_servers_words_and_nothing_but_json(api, message_id):
    become(api, message_id, status="deferred", due_at=database_now(HOUR))
    add_attempt(api, message_id, code=250, reply="an earlier one")
    add_attempt(api, message_id, code=451, enhanced_code="4.7.1", reply=HOSTILE)
    response = api.get(f"/v1/messages/{message_id}/explain")
    assert response.content_type == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    found = response.json
    assert (found["reason"], found["status"]) == ("greylisted", "deferred")
    assert HOSTILE in found["detail"]
    attempt = found["evidence"]["attempt"]
    assert clock.now().isoformat()[:10] == attempt.pop("finished_at")[:10]
    assert attempt == {
        "transport": "smtp",
        "phase": "rcpt",
        "code": 451,
        "enhanced_code": "4.7.1",
        "reply": HOSTILE,
    }


def test_a_message_being_sent_has_no_next_attempt(api, message_id):
    with api.house.sessions.begin() as session:
        client_id = session.scalar(select(Message.client_id))
        outbox.claim(session, "transactional", client_id, 1, 180.0)
    found = explain(api, message_id)
    assert (found["reason"], found["next_attempt_at"]) == ("sending", None)


def test_a_message_whose_only_route_is_down_shows_the_breaker(reopen, house):
    relayed = reopen(**RELAY)
    api = Api(relayed, house.add_client())
    message_id = api.send().json["id"]
    add_outage(api, "another")
    assert explain(api, message_id)["reason"] == "waiting"
    add_outage(api)
    found = explain(api, message_id)
    assert found["reason"] == "route_down"
    assert "535 no" in found["detail"]
    breaker = found["evidence"]["breaker"]
    assert (breaker["route"], breaker["reason"], breaker["failure_count"]) == ("smtp", "535 no", 2)
    assert found["next_attempt_at"] == breaker["open_until"]
    assert set(breaker) == {"route", "reason", "failure_count", "tripped_at", "open_until"}


def test_a_route_that_still_works_keeps_a_message_waiting(reopen, house):
    routes = {"MAIL_ROUTES": "one,two", "MAIL_DEFAULT_SENDER": "shop@example.com"}
    servers = {f"MAIL_ROUTE_{name}_SERVER": "mail.example.com" for name in ("ONE", "TWO")}
    api = Api(reopen(**routes, **servers, MAIL_ROUTE_TWO_LANES="bulk"), house.add_client())
    bulk, other = api.send(lane="bulk").json["id"], api.send().json["id"]
    add_outage(api, "one")
    assert [explain(api, each)["reason"] for each in (bulk, other)] == ["waiting", "route_down"]
    add_outage(api, "two")
    assert explain(api, bulk)["reason"] == "route_down"


@pytest.mark.parametrize("hold", list(outbox.Hold))
def test_what_holds_a_message_back_is_its_reason(api, message_id, hold):
    become(api, message_id, held_by=hold, due_at=database_now(HOUR))
    assert explain(api, message_id)["reason"] == hold


def test_a_suppressed_message_names_the_event_that_suppressed_its_address(api, message_id):
    with api.house.sessions.begin() as session:
        suppressions.suppress(session, "ada@example.com", Reason.HARD_BOUNCE, UUID(message_id))
    found = explain(api, api.send().json["id"])
    assert (found["reason"], found["next_attempt_at"]) == ("suppressed", None)
    assert f"hard_bounce, by message {message_id}" in found["detail"]
    entry = found["evidence"]["suppression"]
    assert (entry["reason"], entry["message_id"], set(entry)) == (
        "hard_bounce",
        message_id,
        {"reason", "category", "message_id", "created_at"},
    )


def test_an_expired_message_says_whether_a_newer_one_took_its_place(api):
    late, replaced = (api.post("/v1/messages", json=RESET).json["id"] for _ in range(2))
    become(api, late, expires_at=database_now(), lane="token")
    with api.house.sessions.begin() as session:
        life.supersede(session, UUID(replaced))
    api.house.deliver()
    told = [explain(api, each) for each in (late, replaced)]
    assert [each["reason"] for each in told] == ["expired", "expired"]
    assert "before it expired" in told[0]["detail"]
    assert "newer message" in told[1]["detail"]


def test_a_sent_message_shows_what_the_server_said(api, message_id):
    api.house.deliver()
    found = explain(api, message_id)
    assert (found["reason"], found["status"]) == ("sent", "sent")
    assert found["evidence"]["attempt"]["reply"] == "Captured, not sent."


def test_with_mail_switched_off_the_reason_is_that(house, reopen):
    key = house.add_client()
    waiting = Api(house, key).send().json["id"]
    off = Api(reopen(MAIL_ENABLED="false"), key)
    cancelled = off.send().json["id"]
    told = [explain(off, each) for each in (waiting, cancelled)]
    assert [each["reason"] for each in told] == ["mail_disabled", "mail_disabled"]
    assert [each["status"] for each in told] == ["queued", "cancelled"]


def test_it_needs_the_scope_and_knows_no_other_clients_messages(api, message_id):
    """T24"""
    stranger = Api(api.house, api.house.add_client("stranger"))
    assert stranger.get(f"/v1/messages/{message_id}/explain").status_code == 404
    sender = Api(api.house, api.house.add_client("sender", ["messages:send"]))
    assert sender.get(f"/v1/messages/{message_id}/explain").status_code == 403


def test_an_explanation_costs_a_handful_of_statements_however_many_attempts_there_were(api, message_id):
    become(api, message_id, status="deferred", attempt_count=300)
    for _ in range(30):
        add_attempt(api, message_id, code=451)
    seen = []
    engine = api.house.parts.glances.kw["bind"]
    event.listen(engine, "before_cursor_execute", note := lambda *given: seen.append(given[2]))
    explain(api, message_id)
    event.remove(engine, "before_cursor_execute", note)
    asked = [statement for statement in seen if "api_keys" not in statement]
    assert 0 < len(asked) <= 8
