"""What the service signed is believed, nothing else is, and changing keys costs nobody a verification."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from faces import Face
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from scripted import Answer, answering, problem
from sqlalchemy import select

import email_service_client as client
from email_service.audit.service import WORKER
from email_service.signing import service as signing
from email_service.signing.models import SigningKey
from email_service.signing.service import Signer
from email_service_client import EmailService, Retries
from email_service_client.calls import Line
from email_service_client.services import Rooms
from email_service_client.transports import Blocking
from tests.applications import House, migrate, opened

KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "two"})
ASSERTION, ACCESS = "assertion+jwt", "at+jwt"
KEPT = {"Cache-Control": "public, max-age=300"}


def published(*keys: Any, **headers: str) -> Answer:
    told = {"keys": [{**key.as_dict(private=False), "alg": "ES256", "use": "sig"} for key in keys]}
    return Answer(content=json.dumps(told).encode(), headers=headers or KEPT)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": "email-service", "aud": "email-service", "sub": "u", "jti": "j", "iat": now, "exp": now + 300}
    told = {**usual, "sid": "s", "purpose": "magic_link", "email": "a@b.example", **changes}
    return {name: value for name, value in told.items() if value is not None}


def signed(kind: str = ASSERTION, key: Any = KEY, algorithm: str = "ES256", header: Any = None, **changes: Any) -> str:
    return jwt.encode(
        {"alg": algorithm, "typ": kind, "kid": key.kid, **(header or {})},
        claims(**changes),
        key,
        algorithms=[algorithm],
    )


def part(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def confused(_token: str) -> str:
    """An HMAC under the public key, for a verifier that lets the token choose the algorithm."""
    head = f"{part({'alg': 'HS256', 'typ': ASSERTION, 'kid': 'one'})}.{part(claims())}"
    mac = hmac.digest(KEY.as_pem(private=False), head.encode(), hashlib.sha256)
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


FORGED = {
    "no signature": lambda token: f"{part({'alg': 'none', 'typ': ASSERTION, 'kid': 'one'})}.{token.split('.')[1]}.",
    "the public key as a secret": confused,
    "another algorithm": lambda _: signed(key=RSAKey.generate_key(2048, {"kid": "one"}), algorithm="RS256"),
    "a key of its own": lambda _: signed(key=ECKey.generate_key("P-256", {"kid": "one"})),
    "a key in the header": lambda _: signed(key=OTHER, header={"kid": "one", "jwk": OTHER.as_dict(private=False)}),
    "a key elsewhere": lambda _: signed(key=OTHER, header={"kid": "one", "jku": "https://evil.example/jwks.json"}),
    "a key of no name": lambda _: signed(header={"kid": "../../dev/null"}),
    "other claims": lambda token: ".".join([token.split(".")[0], part(claims(sub="eve")), token.split(".")[2]]),
    "an access token": lambda _: signed(ACCESS),
    "a plain JWT": lambda _: signed("JWT"),
    "another issuer": lambda _: signed(iss="evil"),
    "another audience": lambda _: signed(aud="shop"),
    "another purpose": lambda _: signed(purpose="password_reset"),
    "no end": lambda _: signed(exp=None),
    "an end that is no time": lambda _: signed(exp="never"),
    "no subject": lambda _: signed(sub=None),
    "an email that is no text": lambda _: signed(email=["a@b.example"]),
    "from the future": lambda _: signed(iat=int(time.time()) + 3600),
    "no JWT": lambda _: "x",
    "nothing": lambda _: "",
    "letters that are none of base64": lambda _: "\u00e4.b.c",
    "a header that is a list": lambda _: f"{part([])}.b.c",
    "a header without an end": lambda _: f"{base64.urlsafe_b64encode(b'[' * 100_000).decode()}.b.c",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_assertion_is_not_believed(face, name):
    """T25, T8: CVE-2022-29217, CVE-2024-33663"""
    token = FORGED[name](signed())
    with answering(published(KEY)) as stranger:
        there = Face(stranger.url, None, face.is_blocking)
        assert there.ask(lambda service: service.verify_assertion(signed(), "magic_link")).subject == "u"
        with pytest.raises(client.VerificationFailed) as refused:
            there.ask(lambda service: service.verify_assertion(token, "magic_link"))
    assert not isinstance(refused.value, client.VerificationExpired)
    assert (refused.value.__cause__, "evil" in str(refused.value)) == (None, False)


def test_what_has_ended_is_told_apart(face):
    """F12: clocks may differ by half a minute, and no more."""
    with answering(published(KEY)) as stranger:
        there = Face(stranger.url, None, face.is_blocking)
        near = signed(ACCESS, exp=int(time.time()) - 20)
        assert there.ask(lambda service: service.verify_access_token(near)).session_id == "s"
        with pytest.raises(client.VerificationExpired):
            there.ask(lambda service: service.verify_access_token(signed(ACCESS, exp=int(time.time()) - 40)))
        with pytest.raises(client.VerificationFailed):
            there.ask(lambda service: service.verify_access_token(signed(ACCESS, sid=None)))
        ahead = signed(ACCESS, iat=int(time.time()) + 20)
        assert there.ask(lambda service: service.verify_access_token(ahead)).subject == "u"


def test_issuer_and_audience_may_be_others(face):
    token = signed(ACCESS, iss="https://auth.acme.example", aud="shop")
    with answering(published(KEY)) as stranger:
        there = Face(stranger.url, None, face.is_blocking)
        found = there.ask(lambda s: s.verify_access_token(token, audience="shop", issuer="https://auth.acme.example"))
    assert found.claims["aud"] == "shop"
    assert all("authorization" not in headers for _, headers, _ in stranger.requests)


@dataclass
class Verifier:
    """A client whose time a test tells."""

    url: str
    at: float = 1000.0
    http: httpx2.Client | None = None

    def __post_init__(self) -> None:
        line = Line(
            url=self.url,
            public_url=self.url,
            api_key=None,
            timeout_seconds=2,
            retries=Retries(total_seconds=0),
            now=lambda: self.at,
        )
        self.rooms: Rooms[Blocking] = Rooms(Blocking(self.http or httpx2.Client(), line))

    def believes(self, token: str) -> bool:
        try:
            self.rooms.verify_access_token(token)
        except client.VerificationFailed:
            return False
        return True


def test_keys_are_kept_as_long_as_the_service_says():
    with answering(published(KEY, **{"Cache-Control": "public, max-age=300", "Age": "100"})) as stranger:
        verifier, token = Verifier(stranger.url), signed(ACCESS)
        asked = []
        for at in (0, 199, 201, 400, 402):
            verifier.at = 1000 + at
            assert verifier.believes(token)
            asked.append(len(stranger.requests))
    assert asked == [1, 1, 2, 2, 3]


def test_keys_that_must_not_be_kept_are_asked_for_again_after_a_little():
    with answering(published(KEY, **{"Cache-Control": "no-store"})) as stranger:
        verifier = Verifier(stranger.url)
        asked = []
        for at in (0, 5, 11):
            verifier.at = 1000 + at
            assert verifier.believes(signed(ACCESS))
            asked.append(len(stranger.requests))
    assert asked == [1, 1, 2]


def test_a_key_that_is_new_is_asked_for_and_made_up_names_are_not_each_time():
    with answering(published(KEY), published(KEY, OTHER)) as stranger:
        verifier = Verifier(stranger.url)
        assert verifier.believes(signed(ACCESS))
        verifier.at += 11
        assert verifier.believes(signed(ACCESS, OTHER))
        assert len(stranger.requests) == 2
        for number in range(50):
            verifier.at += 0.5
            assert not verifier.believes(signed(ACCESS, ECKey.generate_key("P-256", {"kid": f"made-up-{number}"})))
        assert len(stranger.requests) <= 2 + 3


def test_while_the_service_is_away_known_keys_are_believed_and_not_for_ever():
    """T34"""
    with answering(
        published(KEY), problem("unavailable", 503), Answer(content=b"<h1>", content_type="text/html")
    ) as stranger:
        verifier = Verifier(stranger.url)
        assert verifier.believes(signed(ACCESS))
        for hours in (1, 2, 23):
            verifier.at = 1000 + hours * 3600
            assert verifier.believes(signed(ACCESS))
        verifier.at = 1000 + 25 * 3600
        with pytest.raises(client.EmailServiceError):
            verifier.believes(signed(ACCESS))


def test_without_any_key_nothing_is_believed(face):
    """T34"""
    with answering(problem("unavailable", 503)) as stranger, pytest.raises(client.Unavailable):
        face.ask(
            lambda service: service.verify_access_token(signed(ACCESS)),
            url=stranger.url,
            retries=Retries(total_seconds=0),
        )
    with answering(Answer(content=b'{"keys": [{}]}')) as stranger, pytest.raises(client.UnexpectedAnswer):
        face.ask(lambda service: service.verify_access_token(signed(ACCESS)), url=stranger.url)


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    with opened(f"sqlite:///{tmp_path}/house.db") as house:
        migrate(house)
        yield house


def pass_time(house: House, span: timedelta) -> None:
    """Let every key have been made so much earlier."""
    with house.sessions.begin() as session:
        for key in session.scalars(select(SigningKey)):
            key.published_at, key.active_from = key.published_at - span, key.active_from - span
            key.retired_at = key.retired_at and key.retired_at - span
    house.parts.get(Signer)._read_at_seconds = float("-inf")


def test_no_verification_fails_while_keys_rotate(house):
    """T25, F16: an hour of a service that verifies, with three rotations, and tokens as old as they may be."""
    http = httpx2.Client(transport=httpx2.WSGITransport(app=house.app))
    asked = []
    http.event_hooks["request"].append(lambda request: asked.append(request.url.path))
    verifier = Verifier("http://service.test", http=http)
    issuing = EmailService("http://service.test", house.add_client(), http=http)
    issuing.accounts.put("u", email="a@example.com")
    alive: list[str] = []
    names = set()
    for minute in range(60):
        if minute in {7, 23, 41}:
            with house.sessions.begin() as session:
                signing.rotate(session, house.parts.get(Signer).sealer, WORKER)
        token = issuing.sessions.create(subject="u").access_token
        names.add(json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"])
        alive = [*alive[-29:], token]
        assert verifier.believes(token)
        assert verifier.believes(alive[0])
        verifier.at += 60
        pass_time(house, timedelta(minutes=1))
    assert len(names) == 4
    assert asked.count("/.well-known/jwks.json") <= 60 / 5


def test_a_key_that_signs_before_anybody_heard_of_it_is_found(house):
    """F16: an operator who replaces a key at once costs nobody a verification either."""
    http = httpx2.Client(transport=httpx2.WSGITransport(app=house.app))
    verifier = Verifier("http://service.test", http=http)
    issuing = EmailService("http://service.test", house.add_client(), http=http)
    issuing.accounts.put("u", email="a@example.com")
    assert verifier.believes(issuing.sessions.create(subject="u").access_token)
    with house.sessions.begin() as session:
        signing.rotate(session, house.parts.get(Signer).sealer, WORKER)
    pass_time(house, timedelta(minutes=11))
    verifier.at += 30  # less than keys are kept
    assert verifier.believes(issuing.sessions.create(subject="u").access_token)
