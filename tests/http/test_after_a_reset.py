"""What a password reset leads to: a proof for the main app and its notice to the reader, and no session."""

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import select

from email_service.messages.models import Message
from email_service.sessions.models import UserSession
from tests.applications import Api
from tests.strangers import ADA, Stranger, answer_requests, issue, put_account

CHANGED = {"template": "password-changed", "to": ADA, "client_reference": "reset-1"}


@pytest.fixture
def stranger(api) -> Stranger:
    put_account(api.house, name="Ada")
    return Stranger(api.house)


@pytest.mark.parametrize("is_internal", [True, False])
def test_a_reset_signs_nobody_in_and_nobody_out(api, stranger, is_internal):
    """T32: sessions begin and end when the main app says so, after the second factor that it asks for."""
    before = api.post("/v1/sessions", json={"subject": "u-1"}).json
    shown = {"purpose": "password_reset", "token": issue(api.house)["token"]}
    answer = api.post("/v1/tokens/consume", json=shown) if is_internal else stranger.consume(**shown)
    assert answer.status_code == 200
    assert not {"access_token", "refresh_token", "session_id"} & set(answer.json)
    assert "Set-Cookie" not in answer.headers
    assert [str(row.id) for row in api.house.execute(select(UserSession.id))] == [before["session_id"]]


def test_the_proof_of_a_reset_is_no_access_token(api, stranger):
    """T32, T25: another type, another life, and neither a session nor what a session was given to claim."""
    pair = api.post("/v1/sessions", json={"subject": "u-1", "claims": {"role": "admin"}}).json
    proof = stranger.consume(token=issue(api.house)["token"]).json["assertion"]
    keys = KeySet.import_key_set(stranger.request("GET", "/.well-known/jwks.json").json)
    proven, access = (jwt.decode(each, keys, algorithms=["ES256"]) for each in (proof, pair["access_token"]))
    assert (proven.header["typ"], access.header["typ"]) == ("assertion+jwt", "at+jwt")
    assert {"sid", "role"} <= set(access.claims)
    assert not {"sid", "role", "scope"} & set(proven.claims)
    assert proven.claims["exp"] - proven.claims["iat"] == 300


def test_the_reader_hears_of_the_new_password_when_the_main_app_confirms_it(api, stranger):
    """T32: redeeming alone changes no password; who does it has the notice sent, once however often it tries."""
    stranger.ask()
    answer_requests(api.house)
    api.house.deliver()
    token = issue(api.house)["token"]
    assert api.post("/v1/tokens/consume", json={"purpose": "password_reset", "token": token}).status_code == 200
    assert api.house.execute(select(Message.id).where(Message.template == "password-changed")) == []
    headers = {"Idempotency-Key": "reset-1"}
    answers = [api.post("/v1/messages", json=CHANGED, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json == answers[1].json
    api.house.deliver()
    notice = api.house.captured()[-1]
    assert notice.recipients == [ADA]
    assert "password" in notice.subject.lower()
    assert "token=" not in notice.text + notice.html


def test_whoever_signs_out_after_a_reset_ends_every_session(api, stranger):
    """T32: what the main app calls when a password was stolen."""
    pairs = [api.post("/v1/sessions", json={"subject": "u-1"}).json for _ in range(2)]
    assert api.request("DELETE", "/v1/sessions?subject=u-1").json == {"revoked": 2}
    refreshed = [
        Api(api.house, "").post("/public/v1/sessions/refresh", json={"refresh_token": pair["refresh_token"]})
        for pair in pairs
    ]
    assert [answer.json["code"] for answer in refreshed] == ["token_used", "token_used"]
