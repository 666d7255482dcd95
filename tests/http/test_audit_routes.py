"""The audit over HTTP: what was done, newest first, found by name, actor, subject and time."""

import base64
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from email_service.audit import service as audit
from email_service.audit.models import AuditEvent
from email_service.audit.service import OPERATOR
from email_service.kernel import clock
from email_service.kernel.orm import first_id_at, new_id
from tests.applications import Api

PATH = "/v1/audit"
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    return Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")


def note(api, name: str = "key.turned", subject: str = "u-1") -> None:
    with api.house.sessions.begin() as session:
        audit.record(session, OPERATOR, name, subject, why="because")


def subjects(api, **query) -> list[str]:
    response = api.get(PATH, query_string=query)
    assert response.status_code == 200, response.text
    return [row["subject"] for row in response.json["data"]]


def test_what_a_client_did_is_told_with_who_and_from_where(api):
    headers = {"X-Request-ID": "my-request"}
    api.request("PUT", "/v1/suppressions/ada@example.com", json={"reason": "complaint"}, headers=headers)
    [event] = api.get(PATH).json["data"]
    made = {name: event.pop(name) for name in ("id", "client_id", "occurred_at")}
    assert event == {
        "name": "suppression.added",
        "actor": "client:shop",
        "subject": "ada@example.com",
        "ip": "127.0.0.1",
        "request_id": "my-request",
        "data": {"reason": "complaint"},
    }
    assert all(made.values())


def test_the_list_is_paged_newest_first_also_where_times_are_equal(api):
    names = [f"u-{number}" for number in range(7)]
    for name in names:
        note(api, subject=name)
    api.house.execute(update(AuditEvent).values(occurred_at=clock.now()))
    seen, query = [], {"limit": 3}
    while True:
        page = api.get(PATH, query_string=query).json
        seen.append([row["subject"] for row in page["data"]])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [len(page) for page in seen] == [3, 3, 1]
    assert [subject for page in seen for subject in page] == names[::-1]


def test_filters_find_what_they_name(api):
    note(api, "old.done", "u-1")
    note(api, "new.done", "u-2")
    api.request("PUT", "/v1/accounts/u-3", json={"email": "ada@example.com"})
    # An hour earlier, as it is told and as its id says.
    earlier = clock.now() - HOUR
    moved = {"id": first_id_at(earlier), "occurred_at": earlier}
    api.house.execute(update(AuditEvent).where(AuditEvent.name == "old.done").values(**moved))
    between = (clock.now() - HOUR / 2).isoformat()
    assert subjects(api) == ["u-3", "u-2", "u-1"]
    assert subjects(api, name="new.done") == ["u-2"]
    assert subjects(api, name="new") == []
    assert subjects(api, actor="operator") == ["u-2", "u-1"]
    assert subjects(api, actor="client:shop") == ["u-3"]
    assert subjects(api, subject="u-1") == ["u-1"]
    assert subjects(api, created_after=between) == ["u-3", "u-2"]
    assert subjects(api, created_before=between) == ["u-1"]
    assert subjects(api, created_before=between, actor="operator", name="old.done", subject="u-1") == ["u-1"]
    assert subjects(api, created_after=between, created_before=between) == []


def test_a_time_is_told_from_its_neighbour_however_late_the_row_was_written(api):
    """The id may be a little later than the time beside it."""
    note(api)
    at = clock.now() - timedelta(seconds=20)
    api.house.execute(update(AuditEvent).values(occurred_at=at))
    for seconds, found in ((-1, []), (1, ["u-1"])):
        edge = (at + timedelta(seconds=seconds)).isoformat()
        assert subjects(api, created_before=edge) == found
        assert subjects(api, created_after=edge) == [each for each in ["u-1"] if not found]


def test_each_filter_has_an_index_in_the_order_of_the_list(on_postgres):
    with on_postgres.house.sessions.begin() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        for column in ("name", "actor", "subject"):
            told = session.scalars(
                text(f"EXPLAIN SELECT * FROM audit_events WHERE {column} = 'x' AND id < :id ORDER BY id DESC LIMIT 51"),
                {"id": new_id()},
            ).all()
            assert f"ix_audit_events_{column}_id" in "\n".join(told)
            assert "Sort" not in "\n".join(told)


@pytest.mark.parametrize("place", [b"", b"x", b"\xff" * 15, b"\0" * 17])
def test_a_made_up_cursor_is_refused(api, place):
    cursor = base64.urlsafe_b64encode(place).decode().rstrip("=")
    response = api.get(PATH, query_string={"cursor": cursor})
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, "/cursor")


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"created_after": "x"}, {"q": "x"}, {"subject": "a\0b"}, {"name": "a\nb"}]
)
def test_a_query_that_means_nothing_is_refused(api, query):
    assert api.get(PATH, query_string=query).status_code == 422


def test_the_audit_needs_a_scope_of_its_own_and_cannot_be_written(house):
    """T24"""
    reader = Api(house, house.add_client("reader", ["audit:read"]))
    other = Api(house, house.add_client("other", ["messages:*", "suppressions:*", "accounts:write", "tokens:*"]))
    assert [each.get(PATH).status_code for each in (reader, other)] == [200, 403]
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert reader.request(method, PATH).status_code == 405


def test_no_secret_is_in_the_audit(api):
    """T27"""
    body = {"purpose": "magic_link", "subject": "u-1", "email": "ada@example.com", "deliver": False}
    made = api.post("/v1/tokens", json=body).json
    api.post("/v1/tokens/consume", json={"purpose": "magic_link", "token": made["token"]})
    told = api.get(PATH).text
    assert ("token.issued" in told, "token.consumed" in told) == (True, True)
    assert made["token"] not in told
