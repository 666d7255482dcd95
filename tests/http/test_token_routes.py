"""Tokens over HTTP: issued, mailed or handed over, looked at, redeemed once, revoked, and no answer kept holds one."""

import json

import pytest
from sqlalchemy import select, update

from email_service.idempotency.models import IdempotencyRecord
from email_service.kernel import clock
from email_service.kernel.orm import database_now
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES, Purpose
from tests.applications import Api
from tests.scripted_transport import ACCEPTED, Scripted
from tests.token_mail import INVITER, read

PATH = "/v1/tokens"
ADA = "ada@example.com"
RESET = {"purpose": "password_reset", "subject": "u-1"}


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, house):
    made = Api(house, house.add_client()) if request.param == "sqlite" else request.getfixturevalue("on_postgres")
    assert made.request("PUT", "/v1/accounts/u-1", json={"email": ADA, "name": "Ada"}).status_code == 201
    return made


def issue(api, key: str | None = None, **body):
    return api.post(PATH, json={**RESET, **body}, headers=None if key is None else {"Idempotency-Key": key})


def hand_over(api, **body) -> dict:
    response = issue(api, deliver=False, **body)
    assert response.status_code == 201, response.text
    return response.json


def verify(api, token: str, purpose: str = "password_reset"):
    return api.post(f"{PATH}/verify", json={"purpose": purpose, "token": token})


def consume(api, key: str | None = None, **body):
    headers = None if key is None else {"Idempotency-Key": key}
    return api.post(f"{PATH}/consume", json={"purpose": "password_reset", **body}, headers=headers)


def revoke(api, **query):
    return api.request("DELETE", PATH, query_string=query)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_is_issued_mailed_and_redeemed(api, purpose):
    rule = RULES[purpose]
    more = {"variables": INVITER} if purpose is Purpose.INVITATION else {}
    issued = issue(api, purpose=purpose, context={"a": [1, None]}, **more)
    assert issued.status_code == 201, issued.text
    assert set(issued.json) == {"id", "purpose", "subject", "expires_at", "message_id"}
    assert (issued.json["purpose"], issued.json["subject"]) == (purpose, "u-1")
    assert api.get(f"/v1/messages/{issued.json['message_id']}").json["status"] == "queued"
    transport = Scripted([ACCEPTED])
    api.house.deliver(transport)
    [parcel] = transport.parcels
    mail = read(parcel.content)
    assert (parcel.recipient, "Hello Ada" in mail.text) == (ADA, True)
    if rule.has_link:
        told = verify(api, mail.token, purpose)
        assert told.status_code == 200
        times = {name: told.json[name] for name in ("issued_at", "expires_at")}
        about = {"purpose": purpose, "subject": "u-1", "email": ADA, "context": {"a": [1, None]}}
        assert told.json == {"valid": True, **about, **times}
        assert times["expires_at"] == issued.json["expires_at"]
    proof = {"token": mail.token} if rule.has_link else {"email": ADA, "code": mail.code}
    redeemed = consume(api, purpose=purpose, **proof)
    assert redeemed.status_code == 200, redeemed.text
    assert set(redeemed.json) == {"purpose", "subject", "email", "context", "issued_at"}
    assert (redeemed.json["subject"], redeemed.json["context"]) == ("u-1", {"a": [1, None]})
    again = consume(api, purpose=purpose, **proof)
    assert (again.status_code, again.json["code"]) == (400, "token_used" if rule.has_link else "token_invalid")


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_is_handed_over_instead_of_mailed(api, purpose):
    made = hand_over(api, purpose=purpose)
    rule = RULES[purpose]
    assert ("token" in made, "code" in made, made["message_id"]) == (rule.has_link, rule.has_code, None)
    assert api.house.execute("SELECT count(*) FROM messages") == [(0,)]
    proof = {"token": made["token"]} if rule.has_link else {"email": ADA, "code": made["code"]}
    assert consume(api, purpose=purpose, **proof).status_code == 200


def test_an_answer_is_repeated_with_the_token_although_none_was_recorded(api):
    """T31"""
    body = {"purpose": "magic_link", "deliver": False}
    first, second = issue(api, "key-1", **body), issue(api, "key-1", **body)
    assert first.json == second.json
    assert (first.status_code, second.status_code, second.headers["Idempotent-Replayed"]) == (201, 201, "true")
    assert {"token", "code"} <= set(first.json)
    [(answer,)] = api.house.execute(select(IdempotencyRecord.answer))
    assert set(answer) == {"id", "purpose", "subject", "expires_at", "message_id"}
    for secret in (first.json["token"], first.json["code"]):
        assert secret not in json.dumps({name: answer[name] for name in ("purpose", "subject", "message_id")})
    assert first.json["token"] not in json.dumps(answer)
    assert api.house.execute("SELECT count(*) FROM tokens") == [(1,)]


def test_an_answer_whose_account_was_erased_is_no_fault_of_the_service(api):
    body = {"deliver": False}
    issue(api, "key-1", **body)
    api.request("DELETE", "/v1/accounts/u-1")
    response = issue(api, "key-1", **body)
    assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_the_same_key_issues_and_redeems_once(api):
    """T31"""
    first, second = issue(api, "key-1"), issue(api, "key-1")
    assert first.json == second.json
    assert issue(api, "key-1", context={"a": 1}).json["code"] == "idempotency_key_reused"
    made = hand_over(api)
    redeemed = [consume(api, "key-1", token=made["token"]) for _ in range(2)]
    assert redeemed[0].json == redeemed[1].json
    assert [response.status_code for response in redeemed] == [200, 200]
    assert consume(api, "key-2", token=made["token"]).json["code"] == "token_used"


def test_a_lost_answer_to_a_code_is_given_again_under_the_same_key(api):
    """T31: the second request does not count as a guess at anything."""
    made = hand_over(api, purpose="login_code")
    proof = {"purpose": "login_code", "email": ADA, "code": made["code"]}
    first, second = (consume(api, "key-1", **proof) for _ in range(2))
    assert (first.status_code, first.json) == (second.status_code, second.json)
    assert first.status_code == 200


def test_a_new_token_replaces_the_old_one_and_its_waiting_message(api):
    old, new = issue(api), issue(api)
    told = api.get(f"/v1/messages/{old.json['message_id']}").json
    assert told["status"] == "expired"
    assert api.get(f"/v1/messages/{old.json['message_id']}/explain").json["reason"] == "expired"
    assert api.get(f"/v1/messages/{new.json['message_id']}").json["status"] == "queued"
    first = hand_over(api)
    hand_over(api)
    assert verify(api, first["token"]).json["code"] == "token_used"


def test_revoking_says_how_many_were_live(api):
    token = hand_over(api)["token"]
    hand_over(api, purpose="magic_link")
    assert revoke(api, subject="u-1", purpose="magic_link").json == {"revoked": 1}
    assert verify(api, token).status_code == 200
    assert revoke(api, subject="u-1").json == {"revoked": 1}
    assert revoke(api, subject="u-1").json == {"revoked": 0}
    assert revoke(api, subject="nobody").json == {"revoked": 0}
    assert verify(api, token).json["code"] == "token_used"


@pytest.mark.parametrize("query", [{}, {"purpose": "magic_link"}, {"subject": "u-1", "purpose": "x"}, {"subject": ""}])
def test_revoking_everybodys_tokens_is_not_possible(api, query):
    token = hand_over(api)["token"]
    assert revoke(api, **query).status_code == 422
    assert verify(api, token).status_code == 200


def test_a_token_that_has_expired_says_so(api):
    """T5"""
    token = hand_over(api)["token"]
    api.house.execute(update(Token).values(expires_at=database_now()))
    for response in (verify(api, token), consume(api, token=token)):
        assert (response.status_code, response.json["code"]) == (400, "token_expired")


def test_every_purpose_refuses_the_tokens_of_the_others(api):
    """T8"""
    made = {purpose: hand_over(api, purpose=purpose) for purpose in Purpose}
    for purpose, secrets in made.items():
        for other in frozenset(Purpose) - {purpose}:
            if token := secrets.get("token"):
                for response in (verify(api, token, other), consume(api, purpose=other, token=token)):
                    assert (response.status_code, response.json["code"]) == (400, "token_invalid")
        if "token" in secrets:
            assert verify(api, secrets["token"], purpose).status_code == 200


def test_five_wrong_codes_kill_a_code_and_are_counted_for_good(api):
    """T4: counted before anything is compared, so that no failure takes a count back."""
    made = hand_over(api, purpose="magic_link")
    for number in range(1, 6):
        response = consume(api, purpose="magic_link", email=ADA, code=wrong(made["code"]))
        assert (response.status_code, response.json["code"]) == (400, "token_invalid")
        assert api.house.execute("SELECT code_try_count FROM tokens") == [(number,)]
    assert consume(api, purpose="magic_link", email=ADA, code=made["code"]).json["code"] == "token_invalid"
    assert verify(api, made["token"], "magic_link").status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"purpose": "lottery"}, "/purpose"),
        ({"subject": ""}, "/subject"),
        ({"subject": "x" * 256}, "/subject"),
        ({"subject": "a\tb"}, "/subject"),
        ({"subject": 7}, "/subject"),
        ({"email": "no-address"}, "/email"),
        ({"email": "a@example.com;b@example.com"}, "/email"),
        ({"locale": "german"}, "/locale"),
        ({"ttl_seconds": 59}, "/ttl_seconds"),
        ({"ttl_seconds": 30 * 86_400 + 1}, "/ttl_seconds"),
        ({"ttl_seconds": "3600"}, "/ttl_seconds"),
        ({"deliver": "false"}, "/deliver"),
        ({"context": []}, "/context"),
        ({"context": {"a": "x" * 5000}}, "/context"),
        ({"variables": {"action_url": "https://evil.example"}}, "/variables/action_url"),
        ({"variables": {"name": 7}}, "/variables/name"),
        ({"variables": {"brand": "x"}}, "/variables/brand"),
        ({"token": "x"}, "/token"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(api, body, pointer):
    response = issue(api, **body)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]
    assert api.house.execute("SELECT count(*) FROM tokens") == [(0,)]


def test_a_number_that_no_database_keeps_is_refused(api):
    """JSON has it, as 1e400; neither PostgreSQL nor an answer can hold what it becomes."""
    body = json.dumps({**RESET, "context": {"a": [7]}}).replace("7", "1e400")
    response = api.post(PATH, data=body, content_type="application/json")
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, "/context")


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"email": ADA},
        {"code": "123456"},
        {"token": "x", "code": "123456"},
        {"token": "x", "email": ADA, "code": "123456"},
        {"token": ""},
        {"token": "x" * 201},
        {"email": ADA, "code": "12345"},
        {"email": ADA, "code": "1234567"},
        {"email": ADA, "code": "12345\n"},
        {"email": ADA, "code": "\u0661\u0662\u0663\u0664\u0665\u0666"},
        {"email": ADA, "code": 123456},
    ],
)
def test_what_is_no_proof_is_refused(api, proof):
    made = hand_over(api, purpose="magic_link")
    assert consume(api, purpose="magic_link", **proof).status_code == 422
    assert api.house.execute("SELECT code_try_count FROM tokens") == [(0,)]
    assert verify(api, made["token"], "magic_link").status_code == 200


def test_an_unknown_subject_and_a_disabled_account_are_told_apart(api):
    unknown = issue(api, subject="u-2")
    assert (unknown.status_code, unknown.json["code"]) == (404, "account_unknown")
    assert issue(api, subject="u-2", email="eve@example.com").status_code == 201
    api.request("PUT", "/v1/accounts/u-1", json={"email": ADA, "disabled": True})
    for body in ({}, {"email": "new@example.com"}, {"deliver": False}):
        response = issue(api, **body)
        assert (response.status_code, response.json["code"]) == (409, "account_disabled")


def test_without_a_directory_every_caller_names_the_address(house, reopen):
    api = Api(reopen(ACCOUNT_DIRECTORY="none"), house.add_client())
    api.request("PUT", "/v1/accounts/u-1", json={"email": ADA})
    assert issue(api).json["code"] == "account_unknown"
    assert issue(api, email=ADA).status_code == 201


def test_the_mail_speaks_the_accounts_language_unless_told_otherwise(api):
    api.request("PUT", "/v1/accounts/u-1", json={"email": ADA, "locale": "pt-BR"})
    for body, locale in (({}, "pt-BR"), ({"locale": "de"}, "de")):
        message_id = issue(api, **body).json["message_id"]
        assert api.get(f"/v1/messages/{message_id}").json["locale"] == locale


def test_issuing_and_redeeming_are_scopes_of_their_own(house):
    """T24"""
    issuer = Api(house, house.add_client("issuer", ["tokens:issue"]))
    reader = Api(house, house.add_client("reader", ["tokens:verify"]))
    made = hand_over(issuer, email=ADA)
    assert [verify(each, made["token"]).status_code for each in (issuer, reader)] == [403, 200]
    assert [issue(each, email=ADA).status_code for each in (reader, issuer)] == [403, 201]
    assert [revoke(each, subject="u-1").status_code for each in (reader, issuer)] == [403, 200]
    assert consume(issuer, token=made["token"]).status_code == 403


def test_the_lifetime_in_the_answer_is_the_one_that_was_asked_for(api):
    made = hand_over(api, ttl_seconds=60)
    left = clock.datetime.fromisoformat(made["expires_at"]) - clock.now()
    assert 0 < left.total_seconds() <= 61
