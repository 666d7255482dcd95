"""Sessions over HTTP: what callers and strangers are told, and what is refused."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from email_service.audit.models import AuditEvent
from email_service.kernel.crypto import hash_secret
from email_service.kernel.orm import database_now
from email_service.sessions.models import RefreshToken, UserSession
from tests.applications import Api, House
from tests.log_capture import captured_logs

PATH, PUBLIC = "/v1/sessions", "/public/v1/sessions"
ADA = {"subject": "user-1"}


@pytest.fixture
def house(either) -> House:
    return either


@pytest.fixture
def api(house) -> Api:
    """The calls of a client that may do everything, for a house with an account."""
    api = Api(house, house.add_client())
    put(api)
    return api


@pytest.fixture
def stranger(house) -> Api:
    """Calls without a key."""
    return Api(house, "")


def put(api: Api, subject: str = "user-1", **profile) -> None:
    body = {"email": f"{subject}@example.com", **profile}
    assert api.request("PUT", f"/v1/accounts/{subject}", json=body).status_code in {200, 201}


def start(api: Api, **body) -> dict:
    response = api.post(PATH, json={**ADA, **body})
    assert response.status_code == 201, response.text
    return response.json


def refresh(stranger: Api, token: str):
    return stranger.post(f"{PUBLIC}/refresh", json={"refresh_token": token})


def test_a_session_is_told_with_its_first_tokens(api):
    answer = api.post(PATH, json={**ADA, "claims": {"role": "admin"}, "ip": "2001:db8::7", "user_agent": "Firefox"})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json
    assert set(told) == {"session_id", "access_token", "refresh_token", "token_type", "expires_in"}
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 1800)
    assert len(told["refresh_token"]) == 43


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/subject"),
        ({"subject": ""}, "/subject"),
        ({"subject": "a\nb"}, "/subject"),
        ({**ADA, "claims": {"sub": "user-2"}}, "/claims/sub"),
        ({**ADA, "claims": {"sid": None}}, "/claims/sid"),
        ({**ADA, "claims": []}, "/claims"),
        ({**ADA, "claims": {"text": "x" * 4097}}, "/claims"),
        ({**ADA, "ip": "example.com"}, "/ip"),
        ({**ADA, "ip": "fe80::1%" + "x" * 50}, "/ip"),
        ({**ADA, "user_agent": 7}, "/user_agent"),
        ({**ADA, "scope": "x"}, "/scope"),
    ],
)
def test_what_no_session_can_be_made_of_is_refused(api, body, pointer):
    answer = api.post(PATH, json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, pointer)


def test_a_claim_that_no_json_can_hold_is_refused(on_postgres):
    put(on_postgres)
    answer = on_postgres.post(
        PATH, data=b'{"subject": "user-1", "claims": {"a": 1e999}}', content_type="application/json"
    )
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/claims")


def test_nobody_unknown_or_disabled_gets_a_session(api):
    answer = api.post(PATH, json={"subject": "user-9"})
    assert (answer.status_code, answer.json["code"]) == (404, "account_unknown")
    put(api, disabled=True)
    answer = api.post(PATH, json=ADA)
    assert (answer.status_code, answer.json["code"]) == (409, "account_disabled")


def test_sessions_are_a_scope_of_their_own(house):
    """T24"""
    admin, other = Api(house, house.add_client()), Api(house, house.add_client("other", ["tokens:*"]))
    put(admin)
    for call in (
        other.post(PATH, json=ADA),
        other.get(PATH, query_string=ADA),
        other.request("DELETE", PATH, query_string=ADA),
    ):
        assert call.status_code == 403
    issuer = Api(house, house.add_client("issuer", ["sessions:issue"]))
    start(issuer)
    assert Api(house, "").post(PATH, json=ADA).status_code == 401


def test_the_list_tells_what_a_person_wants_to_know(api, stranger):
    first = start(api, ip="192.0.2.9", user_agent="Firefox " + "x" * 500)
    second = start(api)
    refresh(stranger, first["refresh_token"])
    answer = api.get(PATH, query_string=ADA)
    assert answer.status_code == 200
    assert [each["id"] for each in answer.json["data"]] == [second["session_id"], first["session_id"]]
    told = answer.json["data"][1]
    assert set(told) == {"id", "created_at", "last_used_at", "expires_at", "ip", "user_agent"}
    assert told["last_used_at"] >= told["created_at"]
    assert (told["ip"], len(told["user_agent"])) == ("192.0.2.9", 400)
    page = api.get(PATH, query_string={**ADA, "limit": 1}).json
    rest = api.get(PATH, query_string={**ADA, "limit": 1, "cursor": page["next_cursor"]}).json
    assert [each["data"][0]["id"] for each in (page, rest)] == [second["session_id"], first["session_id"]]
    assert rest["next_cursor"] is None
    for query in ({}, {**ADA, "limit": 0}, {**ADA, "cursor": "x"}, {**ADA, "x": "y"}):
        assert api.get(PATH, query_string=query).status_code == 422


def test_signing_out_everywhere(api, stranger):
    tokens = [start(api)["refresh_token"] for _ in range(3)]
    for count in (3, 0):
        answer = api.request("DELETE", PATH, query_string=ADA)
        assert (answer.status_code, answer.json) == (200, {"revoked": count})
    assert {refresh(stranger, token).json["code"] for token in tokens} == {"token_used"}
    assert api.get(PATH, query_string=ADA).json == {"data": [], "next_cursor": None}
    assert api.request("DELETE", PATH).status_code == 422


def test_giving_a_token_back_is_answered_alike_whatever_it_is(api, stranger):
    """RFC 7009 2.2"""
    token = start(api)["refresh_token"]
    for given in (token, token, "x" * 43):
        answer = stranger.post(f"{PUBLIC}/revoke", json={"refresh_token": given})
        assert (answer.status_code, answer.json) == (200, {})
    assert refresh(stranger, token).json["code"] == "token_used"


@pytest.mark.parametrize("call", ["refresh", "revoke"])
@pytest.mark.parametrize("body", [{}, {"refresh_token": 1}, {"refresh_token": ""}, {"refresh_token": "x", "y": 1}])
def test_a_public_call_that_presents_nothing_is_refused(stranger, call, body):
    assert stranger.post(f"{PUBLIC}/{call}", json=body).status_code == 422
    assert stranger.get(f"{PUBLIC}/{call}").status_code == 405


def test_each_failure_of_a_refresh_has_its_code_and_no_reason(api, stranger):
    """T26"""
    late, over, disabled = (start(api)["refresh_token"] for _ in range(3))
    assert refresh(stranger, late).status_code == 200
    used_at, ended = database_now(timedelta(seconds=-31)), database_now(timedelta(seconds=-1))
    api.house.execute(update(RefreshToken).where(RefreshToken.token_hash == hash_secret(late)).values(used_at=used_at))
    of_token = select(RefreshToken.session_id).where(RefreshToken.token_hash == hash_secret(over)).scalar_subquery()
    api.house.execute(update(UserSession).where(UserSession.id == of_token).values(expires_at=ended))
    codes = {"x" * 43: "token_invalid", late: "token_used", over: "token_expired"}
    for token, code in codes.items():
        answer = refresh(stranger, token)
        assert (answer.status_code, answer.json["code"]) == (400, code)
    api.house.execute("UPDATE accounts SET is_disabled = true")
    answer = refresh(stranger, disabled)
    assert (answer.status_code, answer.json["code"]) == (400, "token_invalid")
    assert "account" not in answer.text


def test_a_reuse_is_kept_although_the_answer_is_an_error(api, stranger):
    """T26"""
    token = start(api)["refresh_token"]
    child = refresh(stranger, token).json["refresh_token"]
    again = refresh(stranger, token)
    assert (again.status_code, again.json["refresh_token"]) == (200, child)
    grandchild = refresh(stranger, child).json["refresh_token"]
    for presented in (token, grandchild, child):
        assert refresh(stranger, presented).json["code"] == "token_used"
    [event] = api.house.execute(select(AuditEvent).where(AuditEvent.name == "session.reused"))
    assert (event.actor, event.subject, event.ip, event.client_id) == ("public", "user-1", "127.0.0.1", None)
    assert event.request_id
    assert api.get(PATH, query_string=ADA).json["data"] == []


def test_no_token_and_no_claim_is_logged(api, stranger):
    """T27"""
    with captured_logs(level="DEBUG") as stream:
        told = start(api, claims={"secret": "Wq7-marker"})
        child = refresh(stranger, told["refresh_token"]).json
        refresh(stranger, "Vn3-marker")
        stranger.post(f"{PUBLIC}/revoke", json={"refresh_token": child["refresh_token"]})
    shown = stream.getvalue()
    for secret in (told["refresh_token"], child["refresh_token"], told["access_token"], "Wq7-marker", "Vn3-marker"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("expose", "internal", "public"), [("all", 201, 200), ("internal", 201, 404), ("public", 404, 200)]
)
def test_each_half_is_served_where_it_is_exposed(api, reopen, expose, internal, public):
    token, house = start(api)["refresh_token"], reopen(EXPOSE=expose)
    assert Api(house, api.key).post(PATH, json=ADA).status_code == internal
    assert refresh(Api(house, ""), token).status_code == public
