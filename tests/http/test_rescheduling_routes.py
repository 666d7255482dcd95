"""`PATCH /v1/messages/{id}`: other times for a message that waits, over HTTP and on both databases."""

from datetime import timedelta

import pytest

from email_service.kernel import clock
from tests.applications import RESET, Api

HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    return Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")


def patch(api, message_id: str, **body):
    return api.request("PATCH", f"/v1/messages/{message_id}", json=body)


def at(hours: float) -> str:
    return clock.written(clock.now() + hours * HOUR)


def test_a_message_gets_other_times_and_tells_both(api):
    first, second, end = at(1), at(2), at(3)
    message_id = api.send(send_at=first).json["id"]
    patched = patch(api, message_id, send_at=second, expires_at=end)
    assert patched.status_code == 200, patched.text
    told = patched.json
    assert (told["status"], told["send_at"], told["expires_at"]) == ("scheduled", second, end)
    assert told["next_attempt_at"] == second
    assert told == api.get(f"/v1/messages/{message_id}").json
    event = api.get(f"/v1/messages/{message_id}/events").json["data"][-1]
    assert (event["name"], event["data"]) == (
        "message.rescheduled",
        {"before": {"send_at": first, "expires_at": None}, "after": {"send_at": second, "expires_at": end}},
    )


def test_what_is_left_out_stays_and_null_clears(api):
    send_at, expires_at = at(1), at(2)
    message_id = api.send(send_at=send_at, expires_at=expires_at).json["id"]
    told = patch(api, message_id, expires_at=None).json
    assert (told["send_at"], told["expires_at"], told["status"]) == (send_at, None, "scheduled")
    told = patch(api, message_id, send_at=None).json
    assert (told["send_at"], told["status"]) == (None, "queued")
    assert api.house.deliver() == 1


def test_workers_are_woken_only_when_it_is_due_now(api, monkeypatch):
    message_id, woken = api.post("/v1/messages", json={**RESET, "send_at": at(1)}).json["id"], []
    monkeypatch.setattr(api.house.parts, "wake", woken.append)
    patch(api, message_id, send_at=at(2))
    patch(api, message_id, expires_at=at(3))
    assert woken == []
    patch(api, message_id, send_at=at(-1))
    assert woken == [{"token"}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"send_at": at(24 * 367)}, "/send_at"),
        ({"send_at": "tomorrow"}, "/send_at"),
        ({"expires_at": at(-1)}, "/expires_at"),
        ({"send_at": at(3), "expires_at": at(2)}, "/expires_at"),
        ({"send_at": at(1), "lane": "bulk"}, "/lane"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(api, body, pointer):
    message_id = api.send(send_at=at(1)).json["id"]
    refused = patch(api, message_id, **body)
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, pointer)


def test_what_was_sent_has_no_other_times(api):
    message_id = api.send().json["id"]
    api.house.deliver()
    refused = patch(api, message_id, send_at=at(1))
    assert (refused.status_code, refused.json["code"]) == (409, "status_conflict")
    assert "sent" in refused.json["detail"]
