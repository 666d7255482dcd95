"""Who may call the internal API: keys, scopes, and answers that tell a stranger nothing."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text
from time_machine import travel

from email_service.clients import service as clients
from email_service.clients.models import ApiKey
from email_service.kernel import clock
from tests.applications import WELCOME, Api

CALLS = [
    ("POST", "/v1/messages", "messages:send"),
    ("POST", "/v1/messages/batch", "messages:send"),
    ("GET", "/v1/messages", "messages:read"),
    ("GET", "/v1/messages/{id}", "messages:read"),
    ("GET", "/v1/messages/{id}/events", "messages:read"),
    ("GET", "/v1/messages/{id}/explain", "messages:read"),
    ("PATCH", "/v1/messages/{id}", "messages:send"),
    ("POST", "/v1/messages/{id}/cancel", "messages:send"),
    ("POST", "/v1/messages/{id}/retry", "messages:send"),
    ("GET", "/v1/suppressions", "suppressions:read"),
    ("GET", "/v1/suppressions/{email}", "suppressions:read"),
    ("PUT", "/v1/suppressions/{email}", "suppressions:write"),
    ("DELETE", "/v1/suppressions/{email}", "suppressions:write"),
    ("GET", "/v1/templates", "templates:read"),
    ("GET", "/v1/templates/welcome", "templates:read"),
    ("POST", "/v1/templates/welcome/render", "templates:read"),
    ("PUT", "/v1/accounts/{subject}", "accounts:write"),
    ("GET", "/v1/accounts/{subject}", "accounts:write"),
    ("DELETE", "/v1/accounts/{subject}", "accounts:write"),
    ("POST", "/v1/tokens", "tokens:issue"),
    ("DELETE", "/v1/tokens", "tokens:issue"),
    ("POST", "/v1/tokens/verify", "tokens:verify"),
    ("POST", "/v1/tokens/consume", "tokens:verify"),
    ("POST", "/v1/sessions", "sessions:issue"),
    ("GET", "/v1/sessions", "sessions:issue"),
    ("DELETE", "/v1/sessions", "sessions:issue"),
    ("GET", "/v1/audit", "audit:read"),
]
SOME_ID = "01a1fbc4-d68b-733b-a40c-365c467afbcf"
SOME = {"id": SOME_ID, "email": "ada@example.com", "subject": "u-1"}


def test_every_call_of_the_internal_api_is_in_the_table(api):
    rules = [rule for rule in api.house.app.url_map.iter_rules() if rule.rule.startswith("/v1/")]
    routes = {(method, rule.rule) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"}}
    names = {"id": "<uuid:message_id>", "email": "<path:email>", "subject": "<path:subject>"}
    written = {(method, path.format(**names)) for method, path, _ in CALLS}
    assert {(method, path.replace("<name>", "welcome")) for method, path in routes} == written


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_a_call_without_a_key_is_401_and_says_how_to_get_one(api, method, path, scope):
    """T24"""
    response = api.request(method, path.format(**SOME), headers={"Authorization": ""}, json={})
    assert (response.status_code, response.json["code"]) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "email-service client create" in response.json["detail"]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_a_call_needs_its_scope_and_no_other(house, method, path, scope):
    """T24"""
    others = [each for each in clients.SCOPES if each != scope]
    response = Api(house, house.add_client("without", others)).request(method, path.format(**SOME), json={})
    assert (response.status_code, response.json["code"]) == (403, "scope_missing")
    assert scope in response.json["detail"]
    response = Api(house, house.add_client("with", [scope])).request(method, path.format(**SOME), json={})
    assert response.status_code in {200, 201, 404, 422}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{key}",
        "Basic {key}",
        "Bearer",
        "Bearer ",
        "Bearer {key}x",
        "Bearer {key} {key}",
        "Bearer esk_000000000000_" + "A" * 43,
        "Bearer " + "é" * 60,
        "Token {key}",
    ],
)
def test_every_wrong_key_gets_the_same_answer(api, header):
    """T24"""
    response = api.get("/v1/templates", headers={"Authorization": header.format(key=api.key)})
    reference = api.get("/v1/templates", headers={"Authorization": "Bearer no"})
    assert response.status_code == 401
    assert {**response.json, "request_id": ""} == {**reference.json, "request_id": ""}


def test_the_scheme_is_read_in_any_case(api):
    assert api.get("/v1/templates", headers={"Authorization": f"bearer {api.key}"}).status_code == 200


def test_a_revoked_client_is_out_at_once(api):
    """T24"""
    assert api.get("/v1/templates").status_code == 200
    with api.house.sessions.begin() as session:
        clients.revoke(session, "shop")
    assert api.get("/v1/templates").status_code == 401


def test_both_keys_work_while_they_are_rotated(api):
    """T24, F16"""
    with travel(clock.now(), tick=False) as traveller:
        with api.house.sessions.begin() as session:
            new = Api(api.house, clients.rotate(session, "shop", timedelta(hours=1)))
        assert [each.get("/v1/templates").status_code for each in (api, new)] == [200, 200]
        traveller.shift(3600)
        assert [each.get("/v1/templates").status_code for each in (api, new)] == [401, 200]


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.get("/v1/templates"),
        lambda api: api.get("/v1/messages"),
        lambda api: api.send(),
        lambda api: api.send(template="no-such-template"),
        lambda api: api.post("/v1/templates/welcome/render", json={"variables": {"name": "Ada"}}),
    ],
    ids=["templates", "list", "send", "refused", "render"],
)
def test_every_call_notes_that_the_key_was_used(api, call):
    """T24: also one that is refused or reads nothing from the database."""
    call(api)
    [(used_at,)] = api.house.execute(select(ApiKey.last_used_at))
    assert abs((used_at - clock.now()).total_seconds()) < 60


def test_a_wrong_key_is_not_noted_as_used(api):
    """T24"""
    Api(api.house, api.key[:-1] + ("A" if api.key[-1] != "A" else "B")).get("/v1/templates")
    assert api.house.execute(select(ApiKey.last_used_at)) == [(None,)]


def test_a_stranger_cannot_make_us_read_a_body(api):
    """T28: the key comes first, so a body that nobody could parse changes nothing."""
    response = api.post("/v1/messages", data=b"{" * 1000, headers={"Authorization": ""}, content_type="text/plain")
    assert response.status_code == 401


def test_another_clients_message_is_as_missing_as_one_that_never_was(api):
    """T24"""
    message_id = api.send().json["id"]
    stranger = Api(api.house, api.house.add_client("stranger"))
    calls = [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/explain"),
        ("PATCH", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    ]
    for method, path in calls:
        body = {"send_at": None} if method == "PATCH" else None
        theirs = stranger.request(method, f"/v1/messages/{message_id}{path}", json=body)
        missing = stranger.request(method, f"/v1/messages/{SOME_ID}{path}", json=body)
        assert (theirs.status_code, missing.status_code) == (404, 404)
        assert theirs.json["detail"].replace(message_id, SOME_ID) == missing.json["detail"]
    assert stranger.get("/v1/messages").json["data"] == []
    assert api.get(f"/v1/messages/{message_id}").json["status"] == "queued"


def test_what_is_stored_of_a_key_opens_nothing(api):
    """T2, T24: the hash in the dump, in any spelling, is no key."""
    public_id = api.key.split("_")[1]
    with api.house.sessions() as session:
        digest = session.execute(text("SELECT secret_hash FROM api_keys")).scalar_one()
    for secret in (digest.hex(), digest.hex()[:43], api.key.split("_", 2)[2][::-1]):
        assert Api(api.house, f"esk_{public_id}_{secret}").get("/v1/templates").status_code == 401
    assert api.post("/v1/messages", json=WELCOME).status_code == 202
