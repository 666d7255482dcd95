"""Tokens and codes that anybody redeems: once, by a POST, for an assertion, and again only for a lost reply."""

from datetime import timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import select
from time_machine import travel

from email_service.audit.service import OPERATOR
from email_service.kernel import clock
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES
from email_service.tokens.service import revoke
from tests.applications import House
from tests.strangers import ADA, TOKENS, Stranger, audited, issue

FORGIVING = {"PUBLIC_REDEEM_FAILURE_LIMIT": "1000/hour"}


@pytest.fixture
def house(either) -> House:
    return either


@pytest.fixture
def stranger(house) -> Stranger:
    return Stranger(house)


def claims_of(stranger: Stranger, assertion: str) -> dict:
    keys = KeySet.import_key_set(stranger.request("GET", "/.well-known/jwks.json").json)
    found = jwt.decode(assertion, keys, algorithms=["ES256"])
    assert found.header["typ"] == "assertion+jwt"
    return found.claims


def test_looking_at_a_token_consumes_nothing(house, stranger):
    """T9"""
    token = issue(house)["token"]
    for _ in range(3):
        response = stranger.verify(token)
        assert (response.status_code, set(response.json)) == (200, {"valid", "purpose", "expires_at"})
        assert (response.json["valid"], response.json["purpose"]) == (True, "password_reset")
    assert stranger.consume(token=token).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["", "/verify", "/consume"])
def test_only_a_post_does_anything(house, stranger, method, path):
    """T9, T30: as the scanners of mail do it, with the token in the query."""
    token = issue(house)["token"]
    response = stranger.request(method, f"{TOKENS}{path}?purpose=password_reset&token={token}")
    assert (response.status_code, response.headers["Allow"]) == (405, "OPTIONS, POST")
    assert stranger.consume(token=token).status_code == 200


def test_a_token_is_redeemed_once_for_an_assertion(house, stranger):
    token = issue(house, email="Ada@example.com")["token"]
    before = int(clock.now().timestamp())
    response = stranger.consume(token=token)
    assert response.status_code == 200
    told = dict(response.json)
    assertion = told.pop("assertion")
    assert told == {"purpose": "password_reset", "subject": "u-1", "email": "Ada@example.com"}
    claims = claims_of(stranger, assertion)
    [(token_id,)] = house.execute(select(Token.id))
    assert before <= claims["iat"] <= before + 60
    assert claims == {
        "iss": "email-service",
        "sub": "u-1",
        "aud": "email-service",
        "iat": claims["iat"],
        "exp": claims["iat"] + 300,
        "jti": str(token_id),
        "purpose": "password_reset",
        "email": "Ada@example.com",
    }
    again = stranger.consume(token=token)
    assert (again.status_code, again.json["code"]) == (400, "token_used")
    assert [name for name, _, _ in audited(house)] == ["token.issued", "token.consumed", "token.refused"]


def test_an_assertion_is_for_whom_the_operator_names(house, reopen):
    named = Stranger(reopen(TOKEN_ISSUER="mail.example.com", TOKEN_AUDIENCE="app.example.com"))
    claims = claims_of(named, named.consume(token=issue(named.house)["token"]).json["assertion"])
    assert (claims["iss"], claims["aud"]) == ("mail.example.com", "app.example.com")


@pytest.mark.parametrize("call", ["verify", "consume"])
def test_a_bad_token_says_in_which_way(house, reopen, call):
    """T5, T6, T8"""
    stranger = Stranger(reopen(**FORGIVING))

    def code(token: str, purpose: str = "password_reset") -> str:
        response = getattr(stranger, call)(token=token, purpose=purpose)
        assert response.status_code == 400
        return response.json["code"]

    assert code("A" * 43) == "token_invalid"
    fresh = issue(house)["token"]
    for purpose in {*RULES} - {"password_reset"}:
        assert code(fresh, purpose) == "token_invalid"
    replaced, last = fresh, issue(house)["token"]
    assert code(replaced) == "token_used"
    house.execute("UPDATE tokens SET expires_at = :past", past=str(clock.now() - timedelta(seconds=1)))
    assert code(last) == "token_expired"
    with house.sessions.begin() as session:
        revoke(session, "u-1", None, OPERATOR)
    assert code(last) == "token_used"


def test_a_repeat_with_the_same_key_gets_the_same_answer(house, stranger):
    """A lost reply burns no link."""
    token = issue(house)["token"]
    first = stranger.consume(key="attempt-1", token=token)
    again = stranger.consume(key="attempt-1", token=token)
    assert (first.status_code, again.status_code) == (200, 200)
    told, repeated = ({**each.json, "assertion": None} for each in (first, again))
    assert told == repeated
    one, other = (claims_of(stranger, each.json["assertion"]) for each in (first, again))
    assert (one["jti"], one["sub"]) == (other["jti"], other["sub"])
    assert [name for name, _, _ in audited(house)].count("token.consumed") == 1
    for key in ("attempt-2", None):
        assert stranger.consume(key=key, token=token).json["code"] == "token_used"


def test_a_repeat_is_for_ten_minutes_and_its_assertion_is_fresh(house, stranger):
    token = issue(house)["token"]
    stranger.consume(key="attempt-1", token=token)
    at = clock.now() + timedelta(minutes=9)
    with travel(at):
        claims = claims_of(stranger, stranger.consume(key="attempt-1", token=token).json["assertion"])
        assert claims["exp"] > at.timestamp()
    house.execute("UPDATE tokens SET consumed_at = :past", past=str(clock.now() - timedelta(minutes=10, seconds=1)))
    assert stranger.consume(key="attempt-1", token=token).json["code"] == "token_used"


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9"])
def test_a_key_that_is_none_is_refused_before_anything_is_redeemed(house, stranger, key):
    token = issue(house)["token"]
    assert stranger.consume(key=key, token=token).status_code == 422
    assert stranger.consume(token=token).status_code == 200


@pytest.mark.parametrize("purpose", ["login_code", "magic_link", "email_verification"])
def test_a_code_is_redeemed_with_its_address(house, stranger, purpose):
    code = issue(house, purpose)["code"]
    response = stranger.consume(purpose=purpose, email="ADA@example.com", code=code)
    assert (response.status_code, response.json["subject"]) == (200, "u-1")
    again = stranger.consume(key="a", purpose=purpose, email=ADA, code=code)
    assert (again.status_code, again.json["code"]) == (400, "token_invalid")


def test_after_too_many_wrong_codes_the_right_one_fails(house, reopen):
    """T4: whatever the network may still try."""
    stranger, code = Stranger(reopen(**FORGIVING)), issue(house, "login_code")["code"]
    wrong = [f"{(int(code) + number) % 10**6:06}" for number in range(1, 7)]
    for each in wrong:
        assert stranger.consume(purpose="login_code", email=ADA, code=each).json["code"] == "token_invalid"
    assert stranger.consume(purpose="login_code", email=ADA, code=code).json["code"] == "token_invalid"


def test_from_a_thousand_networks_a_code_still_has_five_tries(house, stranger):
    """T4, GHSA-c55g-q6f4-5qxr"""
    code = issue(house, "login_code")["code"]
    for number in range(1, 6):
        Stranger(house, f"192.0.2.{number}").consume(
            purpose="login_code", email=ADA, code=f"{(int(code) + number) % 10**6:06}"
        )
    assert Stranger(house, "198.51.100.1").consume(purpose="login_code", email=ADA, code=code).status_code == 400


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"token": "x", "code": "123456", "email": ADA},
        {"code": "123456"},
        {"email": ADA},
        {"token": ["x"]},
        {"token": ""},
        {"code": "12345", "email": ADA},
        {"token": "x", "subject": "u-2"},
    ],
)
def test_a_redemption_shows_a_token_or_a_code_with_its_address(stranger, shown):
    assert stranger.consume(**shown).status_code == 422
