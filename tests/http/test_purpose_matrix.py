"""Every kind of secret that the service makes, shown at every door but its own: nothing opens, and nothing is told."""

import pytest

from email_service.tokens.purposes import RULES, Purpose
from tests.applications import Api
from tests.strangers import ADA, TOKENS, Stranger, issue, put_account

NOBODYS = "A" * 43
TOLERANT = {"PUBLIC_REDEEM_FAILURE_LIMIT": "100000/minute", "PUBLIC_RATE_LIMIT": "100000/minute"}
SESSIONS = "/public/v1/sessions"


@pytest.fixture
def api(house, reopen) -> Api:
    put_account(house)
    return Api(reopen(**TOLERANT), house.add_client())


def secrets_of(api: Api) -> dict[str, str]:
    """One live secret of each kind, by the name of its kind."""
    made = {}
    for purpose in Purpose:
        made |= {f"{purpose} {kind}": value for kind, value in issue(api.house, purpose).items()}
    pair = api.post("/v1/sessions", json={"subject": "u-1"}).json
    spent = issue(api.house, "password_reset", "u-2", "eve@example.com")["token"]
    assertion = Stranger(api.house).consume(token=spent).json["assertion"]
    tokens = {"refresh": pair["refresh_token"], "access": pair["access_token"], "assertion": assertion}
    return {**made, **tokens, "key": api.key.split("_", 2)[2]}


def doors(api: Api) -> dict[str, tuple]:
    """Where a secret may be shown, by the name of the kind that belongs there: method, path and body around it."""
    found: dict[str, list[tuple]] = {}
    for purpose, rule in RULES.items():
        body = {"purpose": purpose}
        if rule.has_link:
            paths = [f"{TOKENS}/verify", f"{TOKENS}/consume", "/v1/tokens/verify", "/v1/tokens/consume"]
            found[f"{purpose} token"] = [(path, lambda it, b=body: {"json": {**b, "token": it}}) for path in paths]
        if rule.has_code:
            paths, body = [f"{TOKENS}/consume", "/v1/tokens/consume"], {**body, "email": ADA}
            found[f"{purpose} code"] = [(path, lambda it, b=body: {"json": {**b, "code": it}}) for path in paths]
    for purpose in ("email_verification", "email_change"):
        page = f"/pages/{purpose.replace('_', '-')}"
        found[f"{purpose} token"].append((page, lambda it: {"data": {"token": it}}))
    found["refresh"] = [(f"{SESSIONS}/refresh", lambda it: {"json": {"refresh_token": it}})]
    return found


def told(response) -> tuple:
    """What is said, without what differs from one request to the next."""
    problem = {**(response.json or {}), "request_id": ""} if response.is_json else response.text
    return response.status_code, problem


def test_no_secret_opens_a_door_of_another_kind(api):
    """T8: each answer is the one that somebody gets who made something up."""
    secrets, rooms = secrets_of(api), doors(api)
    count = 0
    for kind, ways in rooms.items():
        for path, shape in ways:
            invented = {len(NOBODYS): NOBODYS, 6: "000000"}
            for other, secret in secrets.items():
                # A code may be equal to another one by chance.
                if other == kind or secret == secrets.get(kind):
                    continue
                answer = told(api.post(path, **shape(secret)))
                assert answer[0] in {400, 422}, (other, path)
                if len(secret) in invented and (len(secret) == 6) == kind.endswith("code"):
                    assert answer == told(api.post(path, **shape(invented[len(secret)]))), (other, path)
                count += 1
    assert count > 300
    consumed = api.house.execute("SELECT subject FROM tokens WHERE consumed_at IS NOT NULL")
    assert consumed == [("u-2",)]


def test_every_secret_opens_its_own_door_afterwards(api):
    """T8: what the matrix shows is that the doors differ, and not that they are shut."""
    secrets = secrets_of(api)
    for kind, ways in doors(api).items():
        if kind.endswith("token") or kind in {"refresh", "login_code code"}:
            path, shape = ways[-1]
            assert api.post(path, **shape(secrets[kind])).status_code == 200, kind
    assert api.get("/v1/templates").status_code == 200


def test_no_other_secret_is_a_key(api):
    """T8, T24: also put where a key's own secret would stand."""
    public_id = api.key.split("_")[1]
    for kind, secret in secrets_of(api).items():
        if kind != "key":
            for presented in (secret, f"esk_{public_id}_{secret}"):
                assert Api(api.house, presented).get("/v1/templates").status_code == 401, kind


def test_giving_back_what_is_no_refresh_token_ends_nothing(api):
    """T8"""
    secrets = secrets_of(api)
    for kind, secret in secrets.items():
        if kind != "refresh" and len(secret) <= 200:
            assert api.post(f"{SESSIONS}/revoke", json={"refresh_token": secret}).status_code == 200
    assert api.post(f"{SESSIONS}/refresh", json={"refresh_token": secrets["refresh"]}).status_code == 200
    assert api.house.execute("SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL") == [(0,)]
