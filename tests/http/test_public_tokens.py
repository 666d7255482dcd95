"""Tokens that anybody asks for: the same answer whoever exists, and mail to the stored address only."""

import re

import pytest
from sqlalchemy import select

from email_service.audit.service import OPERATOR
from email_service.kernel.categories import EVERYTHING
from email_service.suppressions import service as suppressions
from email_service.tokens.models import TokenRequest
from email_service.tokens.purposes import RULES
from tests.applications import Api
from tests.log_capture import captured_logs
from tests.strangers import ADA, TOKENS, Stranger, answer_requests, audited, issue, put_account

PROMISE = {
    "message": "If an account exists with this email, you will receive an email shortly.",
    "token_expires_in_hours": 1,
    "rate_limited": False,
}
PUBLIC = sorted(purpose.value for purpose, rule in RULES.items() if rule.is_public)


@pytest.fixture
def stranger(house) -> Stranger:
    return Stranger(house)


def mails(house) -> list:
    """What reaches mailboxes after the worker has been at it."""
    answer_requests(house)
    house.deliver()
    return house.captured()


def token_in(mail) -> str:
    return re.search(r"\?token=([A-Za-z0-9_-]{43})", mail.text)[1]


def test_a_request_is_promised_and_mailed_to_the_account(house, stranger):
    put_account(house)
    response = stranger.ask()
    assert (response.status_code, response.json) == (202, PROMISE)
    [mail] = mails(house)
    assert mail.recipients == [ADA]
    assert stranger.verify(token_in(mail)).status_code == 200


@pytest.mark.parametrize("purpose", PUBLIC)
def test_nobody_learns_whether_an_account_exists(house, reopen, purpose):
    """T11: status, headers and body are equal to the byte, but for the request's id."""
    put_account(house, "known@example.com", "u-1")
    put_account(house, "disabled@example.com", "u-2", is_disabled=True)
    put_account(house, "verified@example.com", "u-3", email_verified=True)
    put_account(house, "suppressed@example.com", "u-4")
    with house.sessions.begin() as session:
        suppressions.put(session, "suppressed@example.com", EVERYTHING, None, OPERATOR)
    names = ("known", "unknown", "disabled", "verified", "suppressed")
    houses = [(house, name) for name in names]
    houses += [(reopen(MAIL_ENABLED="false"), "known"), (reopen(ACCOUNT_DIRECTORY="none"), "known")]
    answers = set()
    for number, (each, name) in enumerate(houses):
        response = Stranger(each, f"192.0.2.{number}").ask(f"{name}@example.com", purpose)
        headers = tuple(pair for pair in response.headers if pair[0] not in {"X-Request-ID", "Date"})
        answers.add((response.status_code, headers, response.data))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 202


@pytest.mark.parametrize("purpose", PUBLIC)
def test_a_request_writes_the_same_whoever_exists(house, purpose):
    """T12: one row, and no look at the accounts."""
    put_account(house)
    for email in (ADA, "nobody@example.com"):
        Stranger(house).ask(email, purpose, locale="de-AT")
    columns = (TokenRequest.purpose, TokenRequest.email, TokenRequest.locale, TokenRequest.ip, TokenRequest.try_count)
    rows = house.execute(select(*columns).order_by(TokenRequest.id))
    assert rows == [(purpose, email, "de-AT", "192.0.2.1", 0) for email in (ADA, "nobody@example.com")]
    assert audited(house) == []


def test_mail_goes_to_the_stored_address_byte_for_byte(house, stranger):
    """T14"""
    put_account(house, "Ada@Example.com")
    stranger.ask("aDA@EXAMPLE.COM")
    assert [mail.recipients for mail in mails(house)] == [["Ada@Example.com"]]


@pytest.mark.parametrize("written", ["mi\u212ae@example.com", "m\u0131ke@example.com", "mike@ex\u00e4mple.com"])
def test_an_address_that_only_looks_like_it_gets_nothing(house, stranger, written):
    """T14, CVE-2019-19844: if it is taken for the account's, the mail goes to the account all the same."""
    put_account(house, "mike@example.com")
    stranger.ask(written)
    assert {address for mail in mails(house) for address in mail.recipients} <= {"mike@example.com"}


@pytest.mark.parametrize(
    "email",
    [
        [ADA, "eve@example.com"],
        {"email": ADA},
        "ada@example.com,eve@example.com",
        "ada@example.com;eve@example.com",
        "ada@example.com eve@example.com",
        '"ada@evil x"@example.com',
        "ada(eve@example.com)@example.com",
        "",
        None,
        7,
    ],
)
def test_a_request_is_for_exactly_one_address(house, stranger, email):
    """T15, CVE-2023-7028"""
    response = stranger.ask(email)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/email"]
    assert house.execute(select(TokenRequest.id)) == []


@pytest.mark.parametrize("purpose", [*sorted({*RULES} - {*PUBLIC}), "invented", None])
def test_other_purposes_cannot_be_asked_for(stranger, purpose):
    response = stranger.ask(purpose=purpose)
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, "/purpose")


@pytest.mark.parametrize(("ttl", "hours"), [("60s", 1), ("61min", 2), ("24h", 24), ("90min", 2)])
def test_the_promise_tells_the_configured_lifetime(house, reopen, ttl, hours):
    response = Stranger(reopen(TOKEN_TTL_PASSWORD_RESET=ttl)).ask()
    assert response.json["token_expires_in_hours"] == hours


def test_no_header_turns_a_link(house, reopen):
    """T17"""
    put_account(house)
    frontend = reopen(FRONTEND_URL="https://app.example.com")
    environ = {"HTTP_HOST": "evil.example", "HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_ORIGIN": "evil.example"}
    assert Stranger(frontend, environ=environ).ask().status_code == 202
    [mail] = mails(frontend)
    assert re.search(r"https://app\.example\.com/reset-password\?token=[A-Za-z0-9_-]{43}\s", mail.text)
    assert b"evil.example" not in mail.source


def test_a_flood_of_requests_leaves_the_newest_link_alive(house):
    """F18"""
    put_account(house)
    for number in range(1, 4):
        assert Stranger(house, f"192.0.2.{number}").ask().status_code == 202
    newest = max(mails(house), key=lambda mail: mail.id)
    for number in range(4, 9):
        assert Stranger(house, f"192.0.2.{number}").ask().status_code == 429
    answer_requests(house)
    assert Stranger(house).consume(token=token_in(newest)).status_code == 200


def test_nothing_that_was_shown_is_logged(house, stranger):
    """T27"""
    put_account(house)
    shown = issue(house, "magic_link")
    with captured_logs(level="DEBUG") as stream:
        stranger.ask()
        stranger.verify(shown["token"], "magic_link")
        stranger.verify("B" * 43)
        stranger.consume(purpose="magic_link", email=ADA, code=shown["code"])
        stranger.consume(purpose="magic_link", token=shown["token"])
        stranger.request("GET", f"{TOKENS}/verify?token={shown['token']}")
    for secret in (*shown.values(), "B" * 43, ADA):
        assert secret not in stream.getvalue()


def test_a_public_instance_serves_the_public_calls_and_nothing_internal(house, reopen):
    """T30"""
    public = reopen(EXPOSE="public")
    stranger, api = Stranger(public), Api(public, house.add_client())
    assert stranger.ask().status_code == 202
    assert stranger.consume(token=issue(public)["token"]).status_code == 200
    assert stranger.request("GET", "/.well-known/jwks.json").status_code == 200
    internal = {rule.rule for rule in house.app.url_map.iter_rules() if rule.rule.startswith("/v1/")}
    for path in (*internal, "/v1/tokens", "/openapi.json", "/docs", "/metrics", "/inbox", "/inbox/messages"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert api.request(method, path, json={}).status_code == 404, path


def test_an_internal_instance_serves_no_public_call(house, reopen):
    """T30"""
    stranger = Stranger(reopen(EXPOSE="internal"))
    for path in ("", "/verify", "/consume"):
        assert stranger.post(path, json={}).status_code == 404
    assert stranger.request("GET", "/.well-known/jwks.json").status_code == 404
