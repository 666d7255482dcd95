"""The hosted pages: from a mail's link to a confirmed address by a click, and nothing by anything less than a click."""

import io
import re

import pytest
from sqlalchemy import select

from email_service.tokens.models import Token, TokenRequest
from email_service.tokens.purposes import Purpose
from tests.applications import House
from tests.hosted import CALLS, CHANGE, CODE, MAIL, PRODUCT, VERIFICATION, Document, post
from tests.log_capture import captured_logs
from tests.strangers import ADA, Stranger, answer_requests, audited, issue, put_account

SENTENCE = "If an account exists with this email, you will receive an email shortly."


@pytest.fixture
def stranger(house) -> Stranger:
    return Stranger(house)


def link_of(house: House) -> str:
    """Path and query of the newest mail's link."""
    answer_requests(house)
    house.deliver()
    mail = max(house.captured(), key=lambda each: each.id)
    return re.search(r"http://127\.0\.0\.1:8000(/pages/\S+)", mail.text)[1]


def is_consumed(house: House) -> bool:
    [(consumed_at,)] = house.execute(select(Token.consumed_at))
    return consumed_at is not None


def test_a_link_leads_to_a_button_and_the_button_confirms(house, stranger):
    """T9"""
    put_account(house)
    assert stranger.ask(ADA, "email_verification").status_code == 202
    link = link_of(house)
    for method in ("GET", "HEAD") * 5:
        response = stranger.request(method, link, headers={"User-Agent": "SafeLinks"})
        assert response.status_code == 200
    assert not is_consumed(house)
    path, fields = Document(stranger.request("GET", link).text).form
    assert (path, set(fields)) == (VERIFICATION, {"token"})
    response = post(stranger, path, fields)
    assert (response.status_code, "is confirmed" in response.text) == (200, True)
    assert is_consumed(house)
    assert [(name, subject) for name, subject, _ in audited(house)][-1] == ("token.consumed", "u-1")
    again = post(stranger, path, fields)
    assert (again.status_code, "already used" in again.text) == (400, True)


def test_a_new_address_is_confirmed_by_its_link(house, stranger):
    token = issue(house, "email_change", email="new@example.com")["token"]
    path, fields = Document(stranger.request("GET", f"{CHANGE}?token={token}").text).form
    response = post(stranger, path, fields)
    assert (response.status_code, "new email address is confirmed" in response.text) == (200, True)
    gone = post(stranger, path, fields)
    assert (gone.status_code, "<form" in gone.text) == (400, False)


def test_a_code_confirms_with_the_address_it_was_mailed_to(house, stranger):
    code = issue(house, "email_verification")["code"]
    path, fields = Document(stranger.request("GET", CODE).text).form
    assert (path, set(fields)) == (CODE, {"email", "code"})
    wrong = post(stranger, path, {"email": ADA, "code": f"{(int(code) + 1) % 10**6:06}"})
    assert wrong.status_code == 400
    assert Document(wrong.text).form == (CODE, {"email": ADA, "code": ""})
    assert not is_consumed(house)
    assert post(stranger, path, {"email": f" {ADA} ", "code": f"{code[:3]} {code[3:]}"}).status_code == 200
    assert is_consumed(house)


def test_an_expired_link_offers_another_mail_and_that_one_confirms(house, stranger):
    put_account(house)
    token = issue(house, "email_verification")["token"]
    house.execute("UPDATE tokens SET expires_at = issued_at")
    response = post(stranger, VERIFICATION, {"token": token})
    assert (response.status_code, "has expired" in response.text) == (400, True)
    path, fields = Document(response.text).form
    assert (path, set(fields)) == (MAIL, {"email"})
    asked = post(stranger, path, {"email": ADA})
    assert (asked.status_code, SENTENCE in asked.text) == (202, True)
    path, fields = Document(stranger.request("GET", link_of(house)).text).form
    assert post(stranger, path, fields).status_code == 200


def test_nobody_learns_here_whether_an_account_exists(house):
    """T11, T12: the same bytes, and the same row."""
    put_account(house)
    answers = set()
    for number, email in enumerate((ADA, "nobody@example.com")):
        response = post(Stranger(house, f"192.0.2.{number}"), MAIL, {"email": email})
        headers = tuple(pair for pair in response.headers if pair[0] not in {"X-Request-ID", "Date"})
        answers.add((response.status_code, headers, response.data))
    assert len(answers) == 1
    rows = house.execute(
        select(TokenRequest.purpose, TokenRequest.email, TokenRequest.locale).order_by(TokenRequest.id)
    )
    assert rows == [("email_verification", email, None) for email in (ADA, "nobody@example.com")]


def test_another_mail_has_the_quotas_of_the_public_api(house):
    """T13"""
    for number in range(2):
        assert Stranger(house, f"192.0.2.{number}").ask(purpose="email_verification").status_code == 202
    told = [post(Stranger(house, f"192.0.2.1{number}"), MAIL, {"email": ADA}) for number in range(2)]
    assert [each.status_code for each in told] == [202, 429]
    assert int(told[1].headers["Retry-After"]) > 3000
    assert "Too many tries" in told[1].text
    assert told[1].headers["RateLimit"].startswith('"ip";r=4')
    assert len(house.execute(select(TokenRequest.id))) == 3


def test_a_silent_operator_hides_the_quota_of_addresses_here_too(reopen):
    """T11, T13"""
    silent = reopen(TOKEN_EMAIL_QUOTA_RESPONSE="silent")
    told = [post(Stranger(silent, f"192.0.2.{number}"), MAIL, {"email": ADA}) for number in range(4)]
    assert len({(each.status_code, each.data, each.headers["RateLimit"]) for each in told}) == 1
    assert told[0].status_code == 202
    assert len(silent.execute(select(TokenRequest.id))) == 3
    assert [name for name, _, _ in audited(silent)] == ["token.request_limited"]


def test_failures_here_and_at_the_public_api_count_together(house, stranger):
    """T4"""
    token = issue(house, "email_verification")["token"]
    told = [post(stranger, VERIFICATION, {"token": "A" * 43}).status_code for _ in range(2)]
    told += [post(stranger, CODE, {"email": ADA, "code": "000000"}).status_code for _ in range(2)]
    told += [stranger.verify("A" * 43).status_code, post(stranger, VERIFICATION, {"token": token}).status_code]
    assert told == [400] * 5 + [429]
    assert not is_consumed(house)
    assert stranger.request("GET", f"{VERIFICATION}?token={token}").status_code == 200


def test_every_request_counts_against_its_network(house, reopen):
    """T13, T28: before anything of it is read."""
    stranger = Stranger(reopen(PUBLIC_RATE_LIMIT="3/minute"))
    told = [
        stranger.request("GET", CODE),
        stranger.request("HEAD", CODE),
        post(stranger, MAIL, {"email": ""}),
        post(stranger, MAIL, b"%"),
    ]
    assert [each.status_code for each in told] == [200, 200, 422, 429]
    assert told[-1].content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "invented"])
def test_a_form_that_another_site_sends_is_refused(house, stranger, site):
    """T13: else its visitors' networks would guess codes and ask for mail."""
    shown = issue(house, "email_verification")
    for path, fields in (
        (VERIFICATION, {"token": shown["token"]}),
        (CODE, {"email": ADA, "code": shown["code"]}),
        (MAIL, {"email": ADA}),
    ):
        refused = post(stranger, path, fields, **{"Sec-Fetch-Site": site})
        assert (refused.status_code, refused.content_type) == (400, "text/html; charset=utf-8")
    assert not is_consumed(house)
    assert house.execute(select(TokenRequest.id)) == []
    for ours in ("same-origin", "none"):
        assert post(stranger, MAIL, {"email": ADA}, **{"Sec-Fetch-Site": ours}).status_code == 202


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"token": "a"}', "application/json", 415),
        (b"token=a", "text/plain", 415),
        (b"token=a", "multipart/form-data; boundary=x", 415),
        (b"token=a&token=b", "application/x-www-form-urlencoded", 400),
        (b"token=%ff", "application/x-www-form-urlencoded", 400),
        (b"token=\xc3\xa4", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"f%d=1" % number for number in range(9)), "application/x-www-form-urlencoded", 400),
        (b"token=" + b"a" * 4090, "application/x-www-form-urlencoded", 413),
        (b"token", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"token=%00", "application/x-www-form-urlencoded", 400),
    ],
)
def test_what_is_no_form_of_ours_is_refused_as_a_page(stranger, content, content_type, status):
    """T28"""
    response = stranger.request("POST", VERIFICATION, data=content, content_type=content_type)
    assert (response.status_code, response.content_type) == (status, "text/html; charset=utf-8")
    is_read = content in {b"", b"token=%00"}  # what can be read is no token
    assert ("This did not work" in response.text) is not is_read


def test_a_form_without_an_end_is_not_read_to_it(house):
    """T28: chunked."""
    endless = io.BytesIO(b"token=" + b"a" * 10**6)
    environ = {"wsgi.input": endless, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    stranger = Stranger(house, environ={**environ, "CONTENT_TYPE": "application/x-www-form-urlencoded"})
    assert stranger.request("POST", VERIFICATION).status_code == 413
    assert endless.tell() < 10_000


@pytest.mark.parametrize("slug", PRODUCT)
def test_what_needs_the_product_is_left_alone(house, stranger, slug):
    shown = issue(house, slug.replace("-", "_"))
    path = f"/pages/{slug}?token={shown.get('token', '')}"
    response = stranger.request("GET", path)
    assert (response.status_code, "FRONTEND_URL" in response.text) == (200, True)
    assert stranger.request("POST", path, data=shown).status_code == 405
    assert not is_consumed(house)


def test_a_token_of_another_purpose_confirms_nothing(house, stranger):
    """T8"""
    token = issue(house, "password_reset")["token"]
    for path in (VERIFICATION, CHANGE):
        assert post(stranger, path, {"token": token, "purpose": "password_reset"}).status_code in {400, 422}
        assert post(stranger, path, {"token": token}).status_code == 400
    assert not is_consumed(house)


def test_nothing_that_a_page_was_shown_is_logged(house, stranger):
    """T27"""
    shown = issue(house, "email_verification")
    with captured_logs(level="DEBUG") as stream:
        stranger.request("GET", f"{VERIFICATION}?token={shown['token']}")
        post(stranger, CODE, {"email": ADA, "code": shown["code"]})
        post(stranger, VERIFICATION, {"token": shown["token"]})
        post(stranger, MAIL, {"email": ADA})
    for secret in (*shown.values(), ADA):
        assert secret not in stream.getvalue()


def test_only_instances_for_the_public_have_pages(house, reopen):
    """T30"""
    public, internal = Stranger(reopen(EXPOSE="public")), Stranger(reopen(EXPOSE="internal"))
    assert public.request("GET", CODE).status_code == 200
    for method, path, fields, _ in CALLS:
        assert internal.request(method, path, data=fields or None).status_code == 404


def test_no_header_turns_a_page_elsewhere(stranger):
    """T17"""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    for path in (f"{VERIFICATION}?token=a", CODE, MAIL):
        assert "evil.example" not in stranger.request("GET", path, headers=headers).text


def test_every_purpose_has_a_page(stranger):
    for purpose in Purpose:
        assert stranger.request("GET", f"/pages/{purpose.replace('_', '-')}?token=a").status_code == 200
