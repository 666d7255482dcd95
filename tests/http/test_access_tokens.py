"""What a service that verifies access tokens can rely on, knowing nothing but our published keys."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import select

from email_service.kernel import clock
from email_service.sessions.models import UserSession
from email_service.signing.service import Signer
from tests.applications import Api, House
from tests.strangers import put_account


@pytest.fixture
def api(house) -> Api:
    """The calls of a client that may do everything, for a house with an account."""
    house.parts.get(Signer)._read_at_seconds = float("-inf")  # its key went with everything else
    put_account(house, subject="user-1")
    return Api(house, house.add_client())


@pytest.fixture
def stranger(house) -> Api:
    """Calls without a key."""
    return Api(house, "")


def start(api: Api, **body) -> dict:
    response = api.post("/v1/sessions", json={"subject": "user-1", **body})
    assert response.status_code == 201, response.text
    return response.json


def refresh(stranger: Api, token: str):
    return stranger.post("/public/v1/sessions/refresh", json={"refresh_token": token})


def verify(house: House, token: str, audience: str = "email-service") -> dict:
    """What a service does that knows nothing but our address and its own name (RFC 8725 3.1, 3.8, 3.9)."""
    with house.app.test_client() as client:
        keys = KeySet.import_key_set(client.get("/.well-known/jwks.json").json)
    decoded = jwt.decode(token, keys, algorithms=["ES256"])
    assert decoded.header["typ"] == "at+jwt"
    rules = jwt.JWTClaimsRegistry(
        now=lambda: int(clock.now().timestamp()),
        iss={"essential": True, "value": "email-service"},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    )
    rules.validate(decoded.claims)
    return decoded.claims


def written(part: dict | bytes) -> str:
    octets = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def read(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def test_an_access_token_is_verified_with_what_is_published(api):
    """T25"""
    told = start(api, claims={"role": "admin", "groups": ["a", {"b": None}]})
    claims = verify(api.house, told["access_token"])
    assert set(claims) == {"iss", "sub", "aud", "iat", "exp", "jti", "sid", "role", "groups"}
    assert claims["sub"] == "user-1"
    assert claims["exp"] - claims["iat"] == 1800
    assert abs(claims["iat"] - clock.now().timestamp()) < 60
    assert UUID(claims["jti"]).version == 7
    assert claims["sid"] == told["session_id"]
    assert (claims["role"], claims["groups"]) == ("admin", ["a", {"b": None}])


def test_a_refreshed_token_has_the_claims_that_the_session_began_with(api, stranger):
    """T25"""
    told = start(api, claims={"role": "admin"})
    answer = refresh(stranger, told["refresh_token"])
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    before, after = (verify(api.house, each["access_token"]) for each in (told, answer.json))
    same = ("iss", "sub", "aud", "sid", "role")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert after["jti"] != before["jti"]


def forge_none(token: str, _jwk: dict) -> str:
    header, claims, _ = token.split(".")
    return f"{written({**read(header), 'alg': 'none'})}.{claims}."


def forge_with_public_key(token: str, jwk: dict) -> str:
    header, claims, _ = token.split(".")
    signed = f"{written({**read(header), 'alg': 'HS256'})}.{claims}"
    pem = ECKey.import_key(jwk).as_pem(private=False)
    return f"{signed}.{written(hmac.digest(pem, signed.encode(), hashlib.sha256))}"


def forge_own_key(token: str, _jwk: dict, **header) -> str:
    mine = ECKey.generate_key("P-256")
    head, claims, _ = token.split(".")
    header = {**read(head), **(header or {"jwk": mine.as_dict(private=False)})}
    return jwt.encode(header, read(claims), mine, algorithms=["ES256"])


def forge_unknown_key(token: str, jwk: dict) -> str:
    return forge_own_key(token, jwk, kid="../../dev/null")


def forge_claims(token: str, _jwk: dict) -> str:
    header, claims, signature = token.split(".")
    return f"{header}.{written({**read(claims), 'sub': 'user-2'})}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [forge_none, forge_with_public_key, forge_own_key, forge_unknown_key, forge_claims],
    ids=lambda f: f.__name__,
)
def test_a_forged_token_is_refused(api, forge):
    """T25: CVE-2022-29217, CVE-2024-33663"""
    token = start(api)["access_token"]
    [jwk] = api.get("/.well-known/jwks.json").json["keys"]
    verify(api.house, token)
    with pytest.raises((JoseError, ValueError)):
        verify(api.house, forge(token, jwk))


def test_a_token_for_somebody_else_or_of_the_past_is_refused(api, monkeypatch):
    """T25"""
    token = start(api)["access_token"]
    with pytest.raises(JoseError):
        verify(api.house, token, audience="another-service")
    later = clock.now() + timedelta(minutes=31)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(JoseError):
        verify(api.house, token)


def test_no_private_part_of_a_key_is_published(api):
    """T25"""
    start(api)
    [jwk] = api.get("/.well-known/jwks.json").json["keys"]
    assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_the_operator_names_issuer_audience_and_lifetimes(api, reopen):
    """T25"""
    other = reopen(
        TOKEN_ISSUER="https://auth.acme.example",
        ACCESS_TOKEN_AUDIENCE="shop",
        ACCESS_TOKEN_LIFETIME="5min",
        SESSION_IDLE_LIFETIME="1h",
        SESSION_LIFETIME="2h",
    )
    told = start(Api(other, api.key))
    claims = read(told["access_token"].split(".")[1])
    assert (claims["iss"], claims["aud"], told["expires_in"]) == ("https://auth.acme.example", "shop", 300)
    [kept] = api.house.execute(select(UserSession.created_at, UserSession.idle_expires_at, UserSession.expires_at))
    assert [end - kept.created_at for end in kept[1:]] == [timedelta(hours=1), timedelta(hours=2)]
