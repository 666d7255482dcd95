"""Lists over HTTP: filters, cursors, and what cancel and retry answer."""

from datetime import timedelta

import pytest

from email_service.kernel import clock
from tests.applications import Api

TOMORROW = (clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
MISSING = "01a1fbc4-d68b-733b-a40c-365c467afbcf"
LISTED = {
    "id",
    "status",
    "template",
    "template_version",
    "to",
    "lane",
    "created_at",
    "send_at",
    "expires_at",
    "client_reference",
    "tags",
    "metadata",
    "message_id_header",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    """A client on each database, for lists are searched differently."""
    return Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")


def ids(api, **query) -> list[str]:
    response = api.get("/v1/messages", query_string=query)
    assert response.status_code == 200, response.text
    return [message["id"] for message in response.json["data"]]


def test_an_empty_list_is_a_list(api):
    assert api.get("/v1/messages").json == {"data": [], "next_cursor": None}


def test_a_list_shows_what_an_accepted_message_shows(api):
    accepted = api.send(tags=["a"], metadata={"b": "c"}).json
    [listed] = api.get("/v1/messages").json["data"]
    assert set(listed) == LISTED
    assert listed == accepted


def test_pages_follow_the_cursor_to_the_end(api):
    sent = [api.send().json["id"] for _ in range(5)]
    seen, query = [], {"limit": 2}
    while True:
        page = api.get("/v1/messages", query_string=query).json
        seen.append([message["id"] for message in page["data"]])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [sent[4:2:-1], sent[2:0:-1], sent[:1]]


def test_each_filter_finds_its_message(api):
    plain = api.send().json
    special = api.send(
        to="eve@example.com",
        template="email-verification",
        variables={"action_url": "https://a.test/"},
        tags=["signup"],
        client_reference="order-42",
        send_at=TOMORROW,
        expires_at=None,
    ).json
    for query in (
        {"recipient": "eve@example.com"},
        {"template": "email-verification"},
        {"tag": "signup"},
        {"client_reference": "order-42"},
        {"created_after": plain["created_at"], "tag": "signup"},
    ):
        assert ids(api, **query) == [special["id"]], query
    assert ids(api, tag="sign") == []
    assert ids(api, created_before="2020-01-01T00:00:00Z") == []
    assert ids(api, status="cancelled") == []
    api.post(f"/v1/messages/{plain['id']}/cancel")
    assert ids(api, status="cancelled") == [plain["id"]]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("cursor=x", "/cursor"),
        ("cursor=%00", "/cursor"),
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=ten", "/limit"),
        ("status=lost", "/status"),
        ("recipient=nobody", "/recipient"),
        ("created_after=yesterday", "/created_after"),
        ("created_before=2026-11-21T00:00:00", "/created_before"),
        ("tag=a%00b", "/tag"),
        ("template=%00", "/template"),
        ("client_reference=%0A", "/client_reference"),
        ("statsu=sent", "/statsu"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_and_named(api, query, pointer):
    response = api.get(f"/v1/messages?{query}")
    assert response.status_code == 422, response.text
    assert {error["pointer"] for error in response.json["errors"]} == {pointer}


def test_events_come_in_pages(api):
    message_id = api.send().json["id"]
    api.house.deliver()
    first = api.get(f"/v1/messages/{message_id}/events?limit=1").json
    second = api.get(f"/v1/messages/{message_id}/events?limit=1&cursor={first['next_cursor']}").json
    assert [page["data"][0]["name"] for page in (first, second)] == ["message.accepted", "message.sent"]
    assert second["next_cursor"] is None


def test_a_waiting_message_is_cancelled_once(api):
    message_id = api.send().json["id"]
    response = api.post(f"/v1/messages/{message_id}/cancel")
    assert (response.status_code, response.json["status"], response.json["attempts"]) == (200, "cancelled", [])
    again = api.post(f"/v1/messages/{message_id}/cancel")
    assert (again.status_code, again.json["code"]) == (409, "status_conflict")
    assert api.house.deliver() == 0
    assert api.house.captured() == []


def test_a_sent_message_is_neither_cancelled_nor_retried(api):
    message_id = api.send().json["id"]
    api.house.deliver()
    for act in ("cancel", "retry"):
        response = api.post(f"/v1/messages/{message_id}/{act}")
        assert (response.status_code, response.json["code"]) == (409, "status_conflict")
        assert "sent" in response.json["detail"]
    assert len(api.house.captured()) == 1


def test_a_failed_message_is_retried_and_arrives(api):
    message_id = api.send().json["id"]
    api.house.execute("UPDATE messages SET status = 'failed', due_at = NULL")
    response = api.post(f"/v1/messages/{message_id}/retry")
    assert (response.status_code, response.json["status"]) == (200, "queued")
    assert response.json["next_attempt_at"] is not None
    api.house.deliver()
    assert api.get(f"/v1/messages/{message_id}").json["status"] == "sent"


def test_a_scheduled_message_waits_and_can_be_cancelled(api):
    message = api.send(send_at=TOMORROW).json
    assert (message["status"], message["send_at"]) == ("scheduled", TOMORROW)
    assert api.house.deliver() == 0
    detail = api.get(f"/v1/messages/{message['id']}").json
    assert detail["next_attempt_at"] == TOMORROW
    assert api.post(f"/v1/messages/{message['id']}/cancel").json["status"] == "cancelled"


@pytest.mark.parametrize("path", ["", "/events", "/cancel", "/retry"])
@pytest.mark.parametrize("message_id", [MISSING, "7", "not-a-uuid", "%00", MISSING.upper() + "x"])
def test_a_message_that_is_not_there_is_404(api, path, message_id):
    method = "POST" if path in {"/cancel", "/retry"} else "GET"
    response = api.request(method, f"/v1/messages/{message_id}{path}")
    assert (response.status_code, response.json["code"]) == (404, "not_found")
