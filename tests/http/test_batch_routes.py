"""`POST /v1/messages/batch`: many messages in one request, each judged by itself, or all of them or none."""

import base64

import pytest

from email_service.clients import service as clients
from email_service.messages.schemas import MessageOut
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests.applications import RESET, WELCOME, Api

BATCH = "/v1/messages/batch"
FILE = {"filename": "a.txt", "content_type": "text/plain", "content": base64.b64encode(b"text").decode()}
NAMELESS = {**WELCOME, "variables": {}}


def send(api: Api, messages: list, key: str | None = None, **more):
    headers = None if key is None else {"Idempotency-Key": key}
    return api.post(BATCH, json={"messages": messages, **more}, headers=headers)


def count(api: Api, table: str = "messages") -> int:
    return api.house.execute(f"SELECT count(*) FROM {table}")[0][0]


def problems_of(response) -> dict[int, dict]:
    return {number: item["problem"] for number, item in enumerate(response.json["data"]) if "problem" in item}


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request) -> Api:
    return request.getfixturevalue("api" if request.param == "sqlite" else "on_postgres")


def test_every_message_of_a_batch_is_as_if_it_had_come_alone(anywhere):
    bodies = [
        {**WELCOME, "to": {"email": "bob@example.com", "name": "Bob"}, "tags": ["one"], "metadata": {"order": "1"}},
        {**RESET, "attachments": [FILE]},
        {**WELCOME, "lane": "bulk", "send_at": "2020-01-01T00:00:00Z"},
    ]
    response = send(anywhere, bodies)
    assert response.status_code == 200
    told = [item["message"] for item in response.json["data"]]
    assert [message["to"]["email"] for message in told] == ["bob@example.com", "ada@example.com", "ada@example.com"]
    assert [message["lane"] for message in told] == ["transactional", "token", "bulk"]
    for message in told:
        row = anywhere.house.message(message["id"])
        assert message == MessageOut().dump(row)
        assert [event.name for event in anywhere.house.events(row.id)] == ["message.accepted"]
        assert row.due_at is not None
    assert anywhere.house.deliver() == 3


def test_a_single_message_is_told_as_its_row_is(anywhere):
    """The answer is written without marshmallow, and says the same."""
    told = anywhere.send(tags=["a", "b"], metadata={"k": "v"}, client_reference="r", expires_at="2099-01-01T00:00:00Z")
    assert told.json == MessageOut().dump(anywhere.house.message(told.json["id"]))


def test_good_messages_are_accepted_beside_bad_ones_each_in_its_place(anywhere):
    response = send(
        anywhere,
        [
            WELCOME,
            NAMELESS,
            {**WELCOME, "to": "nobody"},
            {**WELCOME, "template": "no-such-template"},
            {**WELCOME, "surprise": 1},
            "a text",
            {**WELCOME, "lane": "token"},
            {**WELCOME, "attachments": [FILE, {**FILE, "content": "###"}]},
            WELCOME,
        ],
    )
    assert response.status_code == 200
    problems = problems_of(response)
    assert [number for number, item in enumerate(response.json["data"]) if "message" in item] == [0, 8]
    pointers = {number: [fault["pointer"] for fault in problem["errors"]] for number, problem in problems.items()}
    assert pointers == {
        1: ["/messages/1/variables/name"],
        2: ["/messages/2/to"],
        3: ["/messages/3/template"],
        4: ["/messages/4/surprise"],
        5: ["/messages/5"],
        6: ["/messages/6/lane"],
        7: ["/messages/7/attachments/1/content"],
    }
    assert {number: problem["code"] for number, problem in problems.items() if number in {1, 3}} == {
        1: "invalid_input",
        3: "template_unknown",
    }
    assert count(anywhere) == 2


def test_the_problem_of_a_message_has_the_shape_of_every_problem(api):
    response = send(api, [NAMELESS])
    problem = response.json["data"][0]["problem"]
    alone = api.send(variables={})
    assert problem.keys() == alone.json.keys()
    assert problem["request_id"] == response.headers["X-Request-ID"]
    ignored = {"request_id", "errors"}
    assert {k: v for k, v in problem.items() if k not in ignored} == {
        k: v for k, v in alone.json.items() if k not in ignored
    }


def test_an_atomic_batch_is_taken_whole(anywhere):
    response = send(anywhere, [WELCOME] * 3, atomic=True)
    assert (response.status_code, len(response.json["data"]), count(anywhere)) == (200, 3, 3)


def test_an_atomic_batch_with_one_fault_is_refused_whole_and_names_every_fault(anywhere):
    response = send(anywhere, [WELCOME, NAMELESS, {**WELCOME, "to": "nobody"}, WELCOME], atomic=True, key="order-42")
    assert (response.status_code, response.json["code"]) == (422, "batch_refused")
    assert response.content_type == "application/problem+json"
    assert [fault["pointer"] for fault in response.json["errors"]] == ["/messages/1/variables/name", "/messages/2/to"]
    assert "2 of 4" in response.json["detail"]
    assert [count(anywhere, table) for table in ("messages", "message_events", "idempotency_records")] == [0, 0, 0]


def test_atomic_says_true_or_false(api):
    response = send(api, [WELCOME], atomic="true")
    assert [fault["pointer"] for fault in response.json["errors"]] == ["/atomic"]


@pytest.mark.parametrize("number", [0, 501])
def test_a_batch_of_none_or_of_too_many_is_refused_before_any_is_read(api, number):
    response = send(api, [WELCOME] * number)
    assert (response.status_code, response.json["code"]) == (422, "invalid_input")
    assert [fault["pointer"] for fault in response.json["errors"]] == ["/messages"]
    assert str(number) in response.json["detail"]
    assert count(api) == 0


def test_five_hundred_are_accepted_at_once(anywhere):
    response = send(anywhere, [{**WELCOME, "to": f"reader{number}@example.com"} for number in range(500)])
    told = [item["message"]["to"]["email"] for item in response.json["data"]]
    assert told == [f"reader{number}@example.com" for number in range(500)]
    assert [count(anywhere, table) for table in ("messages", "message_contents", "message_events")] == [500] * 3


@pytest.mark.parametrize("body", [{}, {"messages": {}}, {"messages": "x"}, {"messages": [WELCOME], "more": 1}])
def test_a_body_of_another_shape_is_refused(api, body):
    assert api.post(BATCH, json=body).status_code == 422
    assert count(api) == 0


def test_a_suppressed_address_is_accepted_and_never_mailed(anywhere):
    with anywhere.house.sessions.begin() as session:
        suppressions.suppress(session, "eve@example.com", Reason.COMPLAINT)
    response = send(anywhere, [WELCOME, {**WELCOME, "to": "EVE@example.com"}, {**RESET, "to": "eve@example.com"}])
    statuses = [item["message"]["status"] for item in response.json["data"]]
    assert statuses == ["queued", "suppressed", "suppressed"]
    assert anywhere.house.message(response.json["data"][2]["message"]["id"]).content is None
    assert count(anywhere, "message_contents") == 2
    assert anywhere.house.deliver() == 1


def test_the_same_batch_under_one_key_happens_once_and_is_answered_alike(anywhere):
    """T31"""
    first, second = (send(anywhere, [WELCOME, NAMELESS], key="batch-1") for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json == second.json
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert count(anywhere) == 1


def test_another_batch_under_the_same_key_is_422_and_the_single_call_has_keys_of_its_own(api):
    """T31"""
    send(api, [WELCOME], key="order-42")
    response = send(api, [WELCOME] * 2, key="order-42")
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")
    assert api.send(key="order-42").status_code == 202


def test_no_recorded_batch_holds_a_variable(api):
    """T2, T31"""
    wrong = {**WELCOME, "variables": {"name": ["Wq7-marker"]}}
    send(api, [{**WELCOME, "variables": {"name": "Wq7-marker"}}, wrong], key="order-42")
    assert "Wq7-marker" not in str(api.house.execute("SELECT * FROM idempotency_records"))


def test_a_pointer_stays_short_however_long_a_name_is(api):
    response = send(api, [{**WELCOME, "n" * 200_000: 1}])
    assert len(response.data) < 2000
    assert response.json["data"][0]["problem"]["errors"][0]["pointer"] == "/messages/0/" + "n" * 100


def test_each_message_may_carry_ten_megabytes_and_no_more(house, reopen):
    large = reopen(MAX_BODY_BYTES="60000000")
    api = Api(large, large.add_client())
    whole = base64.b64encode(b"x" * (10 * 1024 * 1024)).decode()
    parts = [{**FILE, "content": whole}]
    response = send(api, [{**WELCOME, "attachments": parts}, {**WELCOME, "attachments": [*parts, FILE]}])
    assert "message" in response.json["data"][0]
    assert [each["pointer"] for each in problems_of(response)[1]["errors"]] == ["/messages/1/attachments"]


def test_a_batch_counts_as_one_call(house, reopen):
    limited = reopen(API_RATE_LIMIT="2/minute")
    api = Api(limited, limited.add_client())
    assert [send(api, [WELCOME] * 5).status_code for _ in range(3)] == [200, 200, 429]


def test_a_batch_wakes_each_lane_once(api, monkeypatch):
    woken = []
    monkeypatch.setattr(api.house.parts, "wake", woken.append)
    send(api, [WELCOME, RESET, WELCOME, {**WELCOME, "lane": "bulk"}, NAMELESS])
    assert woken == [{"token", "transactional", "bulk"}]


def test_a_batch_in_which_nothing_was_accepted_wakes_nobody(api, monkeypatch):
    woken = []
    monkeypatch.setattr(api.house.parts, "wake", woken.append)
    assert send(api, [NAMELESS]).status_code == 200
    assert woken == []


def test_a_revoked_client_sends_no_batch(api):
    """T24"""
    assert send(api, [WELCOME]).status_code == 200
    with api.house.sessions.begin() as session:
        clients.revoke(session, "shop")
    assert send(api, [WELCOME]).status_code == 401
    assert count(api) == 1
