"""Accounts over HTTP: put, read, erased, and refused with the reason."""

from urllib.parse import quote

import pytest
from sqlalchemy import select

from email_service.accounts.models import Account
from email_service.audit.models import AuditEvent
from tests.applications import Api
from tests.races import together

PATH = "/v1/accounts"
ADA = {"email": "ada@example.com", "name": "Ada", "locale": "pt-BR", "email_verified": True}


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    return Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")


def call(api, method: str, subject: str = "u-1", **options):
    return api.request(method, f"{PATH}/{quote(subject, safe='')}", **options)


def put(api, subject: str = "u-1", **body):
    return call(api, "PUT", subject, json={**ADA, **body})


def issue(api, subject: str = "u-1") -> str:
    body = {"purpose": "password_reset", "subject": subject, "deliver": False}
    return api.post("/v1/tokens", json=body).json["token"]


def verify(api, token: str):
    return api.post("/v1/tokens/verify", json={"purpose": "password_reset", "token": token})


def test_an_account_is_put_read_and_erased(api):
    created = put(api)
    assert created.status_code == 201, created.text
    times = {name: created.json[name] for name in ("created_at", "updated_at")}
    assert created.json == {"subject": "u-1", **ADA, "disabled": False, **times}
    again = put(api, email="ADA@example.com", name="Ada L.")
    assert (again.status_code, again.json["email"], again.json["name"]) == (200, "ADA@example.com", "Ada L.")
    assert again.json["created_at"] == created.json["created_at"]
    assert call(api, "GET").json == again.json
    erased = call(api, "DELETE")
    assert (erased.status_code, erased.json["subject"], erased.json["erased"]["tokens"]) == (200, "u-1", 0)
    assert [call(api, method).status_code for method in ("GET", "DELETE")] == [404, 404]


def test_what_is_left_out_has_its_default_whatever_it_was(api):
    put(api, disabled=True)
    response = call(api, "PUT", json={"email": "ada@example.com"})
    told = {name: response.json[name] for name in ("name", "locale", "email_verified", "disabled")}
    assert told == {"name": "", "locale": None, "email_verified": False, "disabled": False}


def test_an_address_that_another_account_has_is_refused(api):
    put(api)
    for response in (put(api, "u-2"), put(api, "u-2", email="ADA@EXAMPLE.com")):
        assert (response.status_code, response.json["code"]) == (409, "email_taken")
    assert call(api, "GET", "u-2").status_code == 404


def test_two_who_take_one_address_at_once_get_one_account_and_one_refusal(on_postgres):
    """T6: no 500, whoever is faster."""
    for number in range(10):
        body = {"email": f"ada{number}@example.com"}
        calls = [lambda who=who, body=body: put(on_postgres, who, **body).status_code for who in ("a", "b")]
        assert sorted(together(calls)) in ([200, 409], [201, 409])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": "no-address"}, "/email"),
        ({"email": "a@example.com,b@example.com"}, "/email"),
        ({"email": ["a@example.com"]}, "/email"),
        ({"email": None}, "/email"),
        ({"name": "Ada\nBcc: eve@example.com"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"locale": "german"}, "/locale"),
        ({"email_verified": "true"}, "/email_verified"),
        ({"disabled": 1.5}, "/disabled"),
        ({"phone": "1"}, "/phone"),
        ({"is_disabled": True}, "/is_disabled"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(api, body, pointer):
    """T15, T19"""
    response = put(api, **body)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]
    assert call(api, "GET").status_code == 404


def test_an_email_is_required(api):
    assert call(api, "PUT", json={"name": "Ada"}).json["errors"][0]["pointer"] == "/email"


@pytest.mark.parametrize("subject", ["a/b", "a//b", "a/", "..", "ä b", "a%2Fb", "?x=1#y", "x" * 255])
def test_a_subject_is_the_main_apps_own_id_whatever_stands_in_it(api, subject):
    assert put(api, subject).json["subject"] == subject
    assert call(api, "GET", subject).json["subject"] == subject
    assert [row.subject for row in api.house.execute(select(Account.subject))] == [subject]
    assert call(api, "DELETE", subject).status_code == 200


@pytest.mark.parametrize("subject", ["a\0b", "a\tb", "\x7f", "x" * 256])
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_what_is_no_subject_is_refused_by_every_call(api, method, subject):
    response = call(api, method, subject, **({"json": ADA} if method == "PUT" else {}))
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/subject"]


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_a_subject_that_begins_with_a_slash_is_not_led_to_another_account(api, method):
    """A client that follows a redirect would erase an account that it did not name."""
    put(api, "a")
    response = call(api, method, "/a", **({"json": ADA} if method == "PUT" else {}))
    assert (response.status_code, response.headers.get("Location")) == (404, None)
    assert call(api, "GET", "a").status_code == 200


@pytest.mark.parametrize("changes", [{"email": "new@example.com"}, {"disabled": True}])
def test_tokens_end_when_the_address_changes_or_the_account_is_disabled(api, changes):
    put(api)
    token = issue(api)
    put(api, name="Ada Lovelace")
    assert verify(api, token).status_code == 200
    put(api, **changes)
    assert verify(api, token).json["code"] == "token_used"


def test_erasing_forgets_the_tokens_and_says_how_many(api):
    put(api)
    tokens = [issue(api) for _ in range(2)]
    assert call(api, "DELETE").json["erased"]["tokens"] == 2
    assert [verify(api, token).json["code"] for token in tokens] == ["token_invalid"] * 2


def test_every_change_is_audited_with_who_and_from_where(api):
    for method, body in (("PUT", ADA), ("PUT", {**ADA, "disabled": True}), ("DELETE", None)):
        call(api, method, headers={"X-Request-ID": "my-request"}, **({"json": body} if body else {}))
    columns = (AuditEvent.name, AuditEvent.subject, AuditEvent.actor, AuditEvent.request_id, AuditEvent.ip)
    assert [tuple(row) for row in api.house.execute(select(*columns).order_by(AuditEvent.id))] == [
        (name, "u-1", "client:shop", "my-request", "127.0.0.1")
        for name in ("account.added", "account.changed", "account.erased")
    ]


def test_accounts_need_a_scope_of_their_own(house):
    """T24"""
    other = Api(house, house.add_client("other", ["messages:*", "tokens:*"]))
    calls = (put(other), call(other, "GET"), call(other, "DELETE"))
    assert [response.status_code for response in calls] == [403] * 3
    assert put(Api(house, house.add_client("app", ["accounts:write"]))).status_code == 201
