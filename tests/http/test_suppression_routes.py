"""The suppression list over HTTP, and `force`, which overrides it where the operator allows that."""

import base64
from datetime import timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from email_service.audit.models import AuditEvent
from email_service.kernel import clock
from email_service.suppressions.models import Suppression
from tests.applications import RESET, WELCOME, Api
from tests.log_capture import captured_logs, parsed

PATH = "/v1/suppressions"
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    return Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")


def put(api, email: str, **body):
    return api.request("PUT", f"{PATH}/{quote(email)}", json=body)


def audited(api) -> list[AuditEvent]:
    with api.house.sessions() as session:
        return list(session.scalars(select(AuditEvent).order_by(AuditEvent.id)))


def emails(api, **query) -> list[str]:
    response = api.get(PATH, query_string=query)
    assert response.status_code == 200, response.text
    return [row["email"] for row in response.json["data"]]


def test_an_address_is_put_looked_up_and_removed(api):
    created = put(api, "ada@example.com")
    assert created.status_code == 201
    assert set(created.json) == {"email", "category", "reason", "message_id", "created_at"}
    assert created.json["category"] == "*"
    assert (created.json["email"], created.json["reason"]) == ("ada@example.com", "manual")
    again = put(api, "ADA@Example.com")
    assert (again.status_code, again.json) == (200, created.json)
    assert api.get(f"{PATH}/Ada@example.com").json == created.json
    removed = api.request("DELETE", f"{PATH}/ada@EXAMPLE.com")
    assert (removed.status_code, removed.data) == (204, b"")
    assert api.get(f"{PATH}/ada@example.com").status_code == 404
    assert api.request("DELETE", f"{PATH}/ada@example.com").status_code == 404


@pytest.mark.parametrize("reason", ["manual", "complaint", "unsubscribe", "hard_bounce"])
def test_a_reason_is_taken_as_it_is_given(api, reason):
    assert put(api, "ada@example.com", reason=reason).json["reason"] == reason
    assert api.send().json["status"] == "suppressed"


def test_a_reason_that_is_none_is_refused(api):
    refused = put(api, "ada@example.com", reason="boredom")
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/reason")
    assert put(api, "ada@example.com", why="x").status_code == 422


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("x@faß.de", "x@xn--fa-hia.de"),
        ("a/b@example.com", "a/b@example.com"),
        ("o'neil+tag@example.com", "o'neil+tag@example.com"),
    ],
)
def test_addresses_in_the_path_are_read_as_everywhere(api, written, kept):
    """T14"""
    assert put(api, written).json["email"] == kept
    assert api.get(f"{PATH}/{quote(kept, safe='')}").json["email"] == kept
    assert api.send(to=written).json["status"] == "suppressed"


@pytest.mark.parametrize("written", ["no-address", "a@b@example.com", "ada@example.com,eve@example.com", "a\0@x.de"])
def test_what_is_no_address_is_refused(api, written):
    """T15"""
    for response in (put(api, written), api.get(f"{PATH}/{quote(written)}")):
        assert response.status_code == 422
        assert [error["pointer"] for error in response.json["errors"]] == ["/email"]


def test_one_category_is_put_looked_up_and_removed(api):
    created = put(api, "ada@example.com", category="onboarding", reason="unsubscribe")
    assert (created.status_code, created.json["category"]) == (201, "onboarding")
    path = f"{PATH}/ada@example.com"
    assert api.get(path).status_code == 404
    assert api.get(path, query_string={"category": "onboarding"}).json == created.json
    assert put(api, "ada@example.com", category="onboarding").status_code == 200
    assert [api.send().json["status"], api.send(**RESET).json["status"]] == ["suppressed", "queued"]
    assert api.request("DELETE", path).status_code == 404
    removed = [api.request("DELETE", path, query_string={"category": "onboarding"}).status_code for _ in range(2)]
    assert removed == [204, 404]
    assert api.send().json["status"] == "queued"


def test_what_is_optional_is_suppressed_as_a_whole(api):
    put(api, "ada@example.com", category="optional", reason="unsubscribe")
    batch = {"messages": [WELCOME, RESET, {**WELCOME, "to": "eve@example.com"}]}
    told = api.post("/v1/messages/batch", json=batch).json["data"]
    assert [each["message"]["status"] for each in told] == ["suppressed", "queued", "queued"]


@pytest.mark.parametrize("category", ["security", "invitation", "unknown", "", "Onboarding", "x" * 51, 7])
def test_a_category_that_nobody_can_unsubscribe_from_is_refused(api, category):
    """T33: it would stop nothing."""
    refused = put(api, "ada@example.com", category=category)
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/category")
    assert emails(api) == []


def test_an_explanation_names_the_category(api):
    put(api, "ada@example.com", category="onboarding", reason="unsubscribe")
    message_id = api.send().json["id"]
    found = api.get(f"/v1/messages/{message_id}/explain").json
    assert "nothing of the category onboarding since" in found["detail"]
    assert found["evidence"]["suppression"]["category"] == "onboarding"
    api.request("DELETE", f"{PATH}/ada@example.com", query_string={"category": "onboarding"})
    put(api, "ada@example.com", category="optional")
    assert "cannot unsubscribe from since" in api.get(f"/v1/messages/{message_id}/explain").json["detail"]


def test_every_change_is_audited_with_who_and_from_where(api):
    headers = {"X-Request-ID": "my-request"}
    api.request("PUT", f"{PATH}/ada@example.com", json={"reason": "complaint"}, headers=headers)
    api.request("DELETE", f"{PATH}/ada@example.com", headers=headers)
    told = audited(api)
    assert [each.name for each in told] == ["suppression.added", "suppression.removed"]
    for each in told:
        assert (each.actor, each.subject, each.ip, each.request_id) == (
            "client:shop",
            "ada@example.com",
            "127.0.0.1",
            "my-request",
        )
        assert each.client_id is not None
        assert each.data["reason"] == "complaint"


def test_a_list_is_paged_newest_first_also_where_times_are_equal(api):
    names = [f"a{number}@example.com" for number in range(7)]
    for name in names:
        put(api, name)
    same = clock.now() - HOUR
    api.house.execute(update(Suppression).where(Suppression.email.in_(names[:4])).values(created_at=same))
    seen, query = [], {"limit": 3}
    while True:
        page = api.get(PATH, query_string=query).json
        seen.append([row["email"] for row in page["data"]])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [len(page) for page in seen] == [3, 3, 1]
    assert [email for page in seen for email in page] == names[:3:-1] + names[3::-1]


def test_filters_find_what_they_name(api):
    put(api, "old@example.com", reason="complaint")
    put(api, "new@example.com", reason="manual")
    api.house.execute(
        update(Suppression).where(Suppression.email == "old@example.com").values(created_at=clock.now() - HOUR)
    )
    between = (clock.now() - HOUR / 2).isoformat()
    assert emails(api) == ["new@example.com", "old@example.com"]
    assert emails(api, reason="complaint") == ["old@example.com"]
    assert emails(api, created_after=between) == ["new@example.com"]
    assert emails(api, created_before=between) == ["old@example.com"]
    assert emails(api, reason="complaint", created_after=between) == []
    put(api, "old@example.com", category="onboarding")
    assert emails(api, category="onboarding") == ["old@example.com"]
    assert emails(api, category="*") == ["new@example.com", "old@example.com"]
    assert emails(api, email="OLD@example.com") == ["old@example.com"] * 2
    assert emails(api, email="other@example.com") == []


def test_categories_of_one_address_are_paged_one_after_the_other(api):
    for category in ("*", "optional", "onboarding"):
        put(api, "ada@example.com", category=category)
    api.house.execute(update(Suppression).values(created_at=clock.now()))
    seen, query = [], {"limit": 1}
    while True:
        page = api.get(PATH, query_string=query).json
        seen += [row["category"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ["optional", "onboarding", "*"]


@pytest.mark.parametrize(
    "place", [b"", b"x", b"\xff", b"2026-01-01\nkey", b"0001-01-01T00:00:00+14:00\nkey", b"2026-01-01T00:00:00Z\na\0b"]
)
def test_a_made_up_cursor_is_refused_or_finds_nothing(api, place):
    put(api, "ada@example.com")
    cursor = base64.urlsafe_b64encode(place).decode().rstrip("=")
    assert api.get(PATH, query_string={"cursor": cursor}).status_code in {200, 422}
    if place != b"2026-01-01\nkey":
        assert api.get(PATH, query_string={"cursor": cursor}).json["errors"][0]["pointer"] == "/cursor"


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"reason": "x"}, {"created_after": "x"}, {"q": "x"}])
def test_a_query_that_means_nothing_is_refused(api, query):
    assert api.get(PATH, query_string=query).status_code == 422


def test_reading_and_writing_are_scopes_of_their_own(house):
    """T24"""
    reader = Api(house, house.add_client("reader", ["suppressions:read"]))
    writer = Api(house, house.add_client("writer", ["suppressions:write"]))
    family = Api(house, house.add_client("family", ["suppressions:*"]))
    sender = Api(house, house.add_client("sender", ["messages:*"]))
    assert [put(each, "ada@example.com").status_code for each in (reader, sender, writer, family)] == [
        403,
        403,
        201,
        200,
    ]
    assert [each.get(PATH).status_code for each in (writer, sender, reader, family)] == [403, 403, 200, 200]
    assert reader.request("DELETE", f"{PATH}/ada@example.com").status_code == 403
    assert family.request("DELETE", f"{PATH}/ada@example.com").status_code == 204


def test_no_address_of_a_path_is_logged(house):
    """T27"""
    api = Api(house, house.add_client())
    with captured_logs(level="DEBUG") as stream:
        for written in ("ada@example.com", "o'neil@example.com", "a/b(@example.com"):
            put(api, written)
            api.get(f"{PATH}/{quote(written)}")
    told = stream.getvalue()
    assert "neil" not in told
    assert "example.com" not in told
    assert {line["path"] for line in parsed(stream) if line["event"] == "request.answered"} == {f"{PATH}/<path:email>"}


@pytest.mark.parametrize(("lane", "status"), [("token", 202), ("transactional", 422), ("bulk", 422)])
def test_force_is_for_the_lanes_that_the_operator_names(api, lane, status):
    response = api.post("/v1/messages", json={**RESET, "lane": lane, "force": True})
    assert response.status_code == status, response.text
    if status == 422:
        assert [error["pointer"] for error in response.json["errors"]] == ["/force"]
        assert "SUPPRESSION_OVERRIDE_LANES" in response.json["detail"]


def test_the_operator_names_other_lanes_or_none(house, reopen):
    key = house.add_client()
    bulk = Api(reopen(SUPPRESSION_OVERRIDE_LANES="bulk"), key)
    assert bulk.send(lane="bulk", force=True).status_code == 202
    assert bulk.post("/v1/messages", json={**RESET, "force": True}).status_code == 422
    none = Api(reopen(SUPPRESSION_OVERRIDE_LANES="none"), key)
    assert none.post("/v1/messages", json={**RESET, "force": True}).status_code == 422


def test_a_forced_message_is_sent_in_spite_of_the_suppression_and_audited(api):
    put(api, "ada@example.com", reason="hard_bounce")
    headers = {"X-Request-ID": "forced"}
    sent = api.post("/v1/messages", json={**RESET, "force": True}, headers=headers)
    assert sent.json["status"] == "queued"
    assert api.post("/v1/messages", json=RESET).json["status"] == "suppressed"
    [told] = [each for each in audited(api) if each.name == "suppression.overridden"]
    assert (told.subject, told.actor, told.request_id) == ("ada@example.com", "client:shop", "forced")
    assert told.data == {"message_id": sent.json["id"], "reason": "hard_bounce"}
    api.house.deliver()
    assert api.get(f"/v1/messages/{sent.json['id']}").json["status"] == "sent"


def test_force_without_a_suppression_overrides_nothing(api):
    api.post("/v1/messages", json={**RESET, "force": True})
    assert audited(api) == []
    put(api, "ada@example.com")
    api.house.deliver()
    [mail] = api.house.captured()
    assert mail.recipients == ["ada@example.com"]


def test_force_counts_for_each_item_of_a_batch(api):
    put(api, "ada@example.com", reason="complaint")
    items = [{**RESET, "force": True}, RESET, {**RESET, "lane": "bulk", "force": True}]
    answer = api.post("/v1/messages/batch", json={"messages": items})
    forced, suppressed, refused = answer.json["data"]
    assert [each["message"]["status"] for each in (forced, suppressed)] == ["queued", "suppressed"]
    assert refused["problem"]["errors"][0]["pointer"].endswith("/force")
    [told] = [each for each in audited(api) if each.name == "suppression.overridden"]
    assert told.data == {"message_id": forced["message"]["id"], "reason": "complaint"}


@pytest.mark.parametrize("value", ["true", 2, None, []])
def test_force_is_a_boolean(api, value):
    assert api.post("/v1/messages", json={**RESET, "force": value}).status_code == 422
