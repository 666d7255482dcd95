"""What other systems told those who had no right to know, tried against ours: who exists, and what is secret.

Which advisories there are, and which concern nothing here, is said in `advisories.py`.
"""

import hashlib
import hmac
import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import event

from email_service.tokens.purposes import RULES
from email_service.tokens.redemption import Evidence, Presented
from tests.applications import House
from tests.log_capture import captured_logs
from tests.strangers import ADA, TOKENS, Stranger, answer_requests, issue, put_account

EVE = "eve@example.com"
PUBLIC = sorted(purpose.value for purpose, rule in RULES.items() if rule.is_public)
CODED = [purpose for purpose, rule in RULES.items() if rule.has_code]


@contextmanager
def statements(house: House) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    seen: list[str] = []
    with house.sessions() as session:
        engine = session.get_bind()

    def note(_connection, _cursor, statement, *_more) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def told(answer) -> tuple:
    """All of an answer that must not depend on who exists."""
    headers = sorted(pair for pair in answer.headers if pair[0] not in {"X-Request-ID", "Date"})
    return answer.status_code, headers, answer.data


@pytest.mark.parametrize("purpose", PUBLIC)
def test_a_mail_server_that_is_away_tells_nobody_who_exists(house, reopen, purpose):
    """CVE-2024-45231, Django: an error of the mail server reached only those whose address was known; T11."""
    put_account(house)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    mail = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(port), "MAIL_DEFAULT_SENDER": "shop@example.com"}
    away = reopen(**mail)
    answers = [Stranger(away, f"192.0.2.{n}").ask(email, purpose) for n, email in enumerate([ADA, EVE])]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == 202
    with captured_logs():
        assert answer_requests(away) == 2
        away.deliver()
    again = [Stranger(away, f"192.0.2.1{n}").ask(email, purpose) for n, email in enumerate([ADA, EVE])]
    assert told(again[0]) == told(again[1]) == told(answers[0])


@pytest.mark.parametrize(
    ("is_verified", "is_disabled"),
    [
        pytest.param(False, False, id="CVE-2024-39329"),
        pytest.param(True, False, id="allauth 0.54.0"),
        pytest.param(False, True, id="allauth 65.3.0"),
    ],
)
@pytest.mark.parametrize("purpose", PUBLIC)
def test_asking_costs_the_same_statements_whoever_exists(house, purpose, is_verified, is_disabled):
    """T12: Django and allauth did more for those whom they knew; `bench` measures the time that this comes to."""
    put_account(house, email_verified=is_verified, is_disabled=is_disabled)
    asked = []
    for number, email in enumerate([ADA, EVE]):
        with statements(house) as seen:
            assert Stranger(house, f"192.0.2.{number}").ask(email, purpose).status_code == 202
        asked.append(list(seen))
    assert asked[0] == asked[1]
    assert not any("accounts" in statement for statement in asked[0])


@pytest.mark.parametrize("purpose", CODED)
def test_a_wrong_code_costs_a_hash_whether_or_not_there_is_one(house, purpose, monkeypatch):
    """CVE-2016-2513: a password of an unknown account was not hashed, which took less time; T12."""
    issue(house, purpose)
    hashed, scrypt = [], hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda *given, **more: hashed.append(more["n"]) or scrypt(*given, **more))
    counts, answers = [], []
    for number, email in enumerate([ADA, EVE]):
        answer = Stranger(house, f"192.0.2.{number}").consume(purpose=purpose, email=email, code="000000")
        answers.append({**answer.json, "request_id": ""})
        counts.append(len(hashed))
    assert counts == [1, 2]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", [TOKENS, "/pages/email-verification/mail"])
def test_who_signs_up_or_adds_an_address_hears_what_everybody_hears(house, path):
    """allauth 0.55.0: adding an address and signing up told whether somebody had it; T11."""
    put_account(house, email_verified=True)
    answers = []
    for number, email in enumerate([ADA, EVE, "ADA@Example.com"]):
        fields = {"email": email}
        body = {"json": {**fields, "purpose": "email_verification"}} if path == TOKENS else {"data": fields}
        answers.append(told(Stranger(house, f"192.0.2.{number}").request("POST", path, **body)))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 202


def test_no_object_that_carries_a_secret_shows_it(house):
    """allauth 0.63.4: a token stood in what `str` made of it, and so in logs; T27."""
    made = issue(house, "magic_link")
    shown = Presented(purpose="magic_link", token=made["token"], email=ADA, code=made["code"])
    written = [repr(shown), str(shown), f"{Evidence(shown)!r}"]
    assert not [each for each in written if made["token"] in each or made["code"] in each]


def test_nothing_that_is_read_by_get_holds_a_secret(house, api):
    """CVE-2021-21241, Flask-Security-Too: a GET returned the token that a POST had to be protected for; T9."""
    put_account(house)
    made = issue(house, "magic_link")
    pair = api.post("/v1/sessions", json={"subject": "u-1"}).json
    mailed = api.post("/v1/tokens", json={"purpose": "password_reset", "subject": "u-1"}).json
    secrets = [made["token"], pair["refresh_token"], pair["access_token"], api.key.split("_", 2)[2]]
    rules = [rule for rule in house.app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    places = {"message_id": mailed["message_id"], "subject": "u-1", "name": "magic-link", "email": ADA, "mail_id": made}
    texts = []
    with captured_logs():
        for rule in rules:
            path = rule.rule
            for name, value in places.items():
                path = path.replace(f"<uuid:{name}>", str(value)).replace(f"<path:{name}>", str(value))
                path = path.replace(f"<{name}>", str(value))
            texts.append(api.get(path, query_string={"subject": "u-1"} if path == "/v1/sessions" else None).text)
    assert len(texts) > 20
    assert not [secret for secret in secrets for text in texts if secret in text]


@pytest.mark.parametrize(
    "identifier",
    ["../accounts/u-1", "..%2faccounts%2fu-1", "%2e%2e/templates", "1/../../clients", "0", "x" * 36, "{id}", "1;DROP"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_an_identifier_in_a_path_is_an_identifier(house, api, identifier, method):
    """CVE-2025-48370, auth-js: an id that was no id led the call to another one."""
    put_account(house)
    message_id = api.send().json["id"]
    for tail in ("", "/cancel", "/retry", "/events"):
        answer = api.request(method, f"/v1/messages/{identifier}{tail}")
        assert answer.status_code in {404, 405}
    assert api.get(f"/v1/messages/{message_id}").json["status"] == "queued"
    assert api.get("/v1/accounts/u-1").status_code == 200


@pytest.mark.parametrize("spelling", ["m\u0131ke@example.com", "mi\u212ae@example.com", "\uff4dike@example.com"])
def test_a_reset_goes_to_the_address_of_the_account(house, spelling):
    """CVE-2019-19844, Django: a spelling that compares equal was mailed instead of the stored address; T14."""
    put_account(house, "mike@example.com")
    assert Stranger(house).ask(spelling).status_code == 202
    answer_requests(house)
    house.deliver()
    assert {each for mail in house.captured() for each in mail.recipients} <= {"mike@example.com"}
    assert spelling.encode() not in b"".join(mail.source for mail in house.captured())


def test_no_public_answer_sets_a_cookie_or_may_be_kept(house):
    """CVE-2023-30861, Flask: an answer with somebody's cookie was cached for others; T10."""
    token = issue(house)["token"]
    stranger = Stranger(house)
    answers = [
        stranger.ask(),
        stranger.verify(token),
        stranger.consume(token=token),
        stranger.request("POST", "/public/v1/sessions/revoke", json={"refresh_token": token}),
        stranger.request("GET", "/pages/email-verification?token=x"),
    ]
    assert [answer.headers.get("Cache-Control") for answer in answers] == ["no-store"] * 5
    assert not [answer for answer in answers if "Set-Cookie" in answer.headers]


@pytest.mark.parametrize(
    ("algorithm", "digest", "form"),
    [
        pytest.param("HS256", "sha256", "pem", id="CVE-2022-29217"),
        pytest.param("HS256", "sha256", "der", id="CVE-2017-11424"),
        pytest.param("HS512", "sha512", "pem", id="CVE-2024-37568"),
        pytest.param("HS256", "sha256", "json", id="CVE-2024-33663"),
        pytest.param("none", "", "", id="none"),
    ],
)
def test_what_is_published_for_checking_signs_nothing(*, house, api, algorithm, digest, form):
    """T25: whoever checks with the published keys takes no public key for a shared secret."""
    put_account(house)
    genuine = api.post("/v1/sessions", json={"subject": "u-1"}).json["access_token"]
    published = Stranger(house).request("GET", "/.well-known/jwks.json").json
    assert {(key["kty"], key["alg"], key["use"]) for key in published["keys"]} == {("EC", "ES256", "sig")}
    keys, key = KeySet.import_key_set(published), ECKey.import_key(published["keys"][0])
    assert jwt.decode(genuine, keys, algorithms=["ES256"]).claims["sub"] == "u-1"
    forms = {"": b"", "json": json.dumps(published["keys"][0]).encode()}
    secret = forms[form] if form in forms else getattr(key, f"as_{form}")(private=False)
    header = json.dumps({"alg": algorithm, "kid": published["keys"][0]["kid"], "typ": "at+jwt"}).encode()
    signed = b".".join([urlsafe_b64encode(header).rstrip(b"="), genuine.split(".")[1].encode()])
    signature = urlsafe_b64encode(hmac.digest(secret, signed, digest)).rstrip(b"=") if digest else b""
    forged = (signed + b"." + signature).decode()
    with pytest.raises((JoseError, ValueError)):
        jwt.decode(forged, keys, algorithms=["ES256"])
