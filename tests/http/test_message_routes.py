"""A message over HTTP, from the call to the source of the mail, with every field that a caller may set."""

import base64
import re
from email import message_from_bytes, policy

import pytest

from tests.applications import RESET, Api

PIXEL = base64.b64encode(b"\x89PNG-not-really").decode()
FULL = {
    "template": "welcome",
    "to": {"email": "ada@example.com", "name": "Ada Lövelace"},
    "variables": {"name": "Ada", "next_steps": ["Say hello."]},
    "locale": "en",
    "cc": ["copy@example.com", {"email": "second@example.com", "name": "Second, Reader"}],
    "bcc": [{"email": "hidden@example.com"}],
    "reply_to": {"email": "help@example.com", "name": "Help"},
    "from": {"email": "shop@example.com", "name": "The Shop"},
    "lane": "bulk",
    "send_at": "2020-01-01T01:00:00+01:00",
    "expires_at": "2199-12-31T23:59:59.999999Z",
    "tags": ["signup", "ünïcode"],
    "metadata": {"order": "42", "note": "two\nlines"},
    "client_reference": "order-42",
    "headers": {"X-Order": "42 €", "List-ID": "<orders.example.com>"},
    "attachments": [
        {"filename": "Rechnung März.pdf", "content_type": "application/pdf", "content": "JVBERg==", "content_id": None},
        {"filename": "logo.png", "content_type": "image/png", "content": PIXEL, "content_id": "logo@shop"},
        {"filename": "empty.txt", "content_type": "text/plain", "content": ""},
    ],
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def only_mail(api: Api):
    """The one captured mail: its row and its parsed source."""
    assert api.house.deliver() == 1
    [mail] = api.house.captured()
    return mail, message_from_bytes(mail.source, policy=policy.default)


@pytest.fixture
def accepted(api):
    response = api.post("/v1/messages", json=FULL)
    assert response.status_code == 202, response.json
    return response.json


def test_the_answer_says_what_was_accepted_and_nothing_of_its_content(accepted):
    assert TIME.fullmatch(accepted.pop("created_at"))
    assert re.fullmatch(r"[0-9a-f]{16}", accepted.pop("template_version"))
    message_id = accepted.pop("id")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", message_id)
    assert accepted == {
        "status": "queued",
        "template": "welcome",
        "to": {"email": "ada@example.com", "name": "Ada Lövelace"},
        "lane": "bulk",
        "send_at": "2020-01-01T00:00:00.000Z",
        "expires_at": "2199-12-31T23:59:59.999Z",
        "client_reference": "order-42",
        "tags": ["signup", "ünïcode"],
        "metadata": {"order": "42", "note": "two\nlines"},
        "message_id_header": f"<{message_id}@example.com>",
    }


def test_the_addresses_arrive_and_blind_copies_stay_blind(api, accepted):
    mail, source = only_mail(api)
    copies = ["copy@example.com", "second@example.com", "hidden@example.com"]
    assert mail.recipients == ["ada@example.com", *copies]
    assert source["From"] == "The Shop <shop@example.com>"
    assert source["To"] == "Ada Lövelace <ada@example.com>"
    assert source["Cc"] == 'copy@example.com, "Second, Reader" <second@example.com>'
    assert source["Reply-To"] == "Help <help@example.com>"
    assert source["Bcc"] is None
    assert b"hidden@example.com" not in mail.source


def test_the_headers_arrive_and_the_message_id_is_the_one_that_was_promised(api, accepted):
    _, source = only_mail(api)
    assert source["Message-ID"] == accepted["message_id_header"]
    assert source["X-Order"] == "42 €"
    assert source["List-ID"] == "<orders.example.com>"
    assert source["Auto-Submitted"] == "auto-generated"
    assert len(source.get_all("Message-ID")) == len(source.get_all("From")) == len(source.get_all("Subject")) == 1


def test_the_words_and_the_files_arrive(api, accepted):
    mail, source = only_mail(api)
    assert "Ada" in source.get_body(("plain",)).get_content()
    assert "Say hello." in source.get_body(("html",)).get_content()
    parts = {part.get_filename(): part for part in source.walk() if part.get_filename()}
    assert {name: part.get_content_type() for name, part in parts.items()} == {
        "Rechnung März.pdf": "application/pdf",
        "logo.png": "image/png",
        "empty.txt": "text/plain",
    }
    assert parts["Rechnung März.pdf"].get_content() == b"%PDF"
    assert parts["logo.png"]["Content-ID"] == "<logo@shop>"
    assert parts["logo.png"].get_content_disposition() == "inline"
    assert b"\n" not in mail.source.replace(b"\r\n", b"")


def test_only_template_and_to_are_required_and_to_may_be_a_bare_address(api):
    response = api.post(
        "/v1/messages", json={"template": "welcome", "to": "ada@example.com", "variables": {"name": "A"}}
    )
    assert response.status_code == 202
    absent = ("send_at", "expires_at", "client_reference")
    assert [response.json[name] for name in absent] == [None, None, None]
    assert (response.json["tags"], response.json["metadata"], response.json["lane"]) == ([], {}, "transactional")
    _, source = only_mail(api)
    assert (source["To"], source["Cc"], source["Reply-To"]) == ("ada@example.com", None, None)


def test_null_means_left_out(api):
    names = ("locale", "reply_to", "from_", "lane", "send_at", "expires_at", "client_reference")
    assert api.send(**dict.fromkeys(names)).status_code == 202


@pytest.mark.parametrize("locale", ["de", "pt-BR", "zh-Hant-TW", "es-419"])
def test_a_locale_that_is_not_there_falls_back(api, locale):
    assert api.send(locale=locale).status_code == 202
    only_mail(api)


def test_an_international_domain_is_mailed_as_a_labels_and_keeps_its_eszett(api):
    """T14"""
    assert api.send(to="ada@faß.de").json["to"]["email"] == "ada@xn--fa-hia.de"
    mail, source = only_mail(api)
    assert (mail.recipients, source["To"]) == (["ada@xn--fa-hia.de"], "ada@xn--fa-hia.de")


def test_the_longest_sender_domain_fits_in_the_message_id(on_postgres):
    domain = ".".join([*["b" * 60] * 3, "b" * 58, "example"])
    response = on_postgres.send(from_=f"a@{domain}")
    assert response.status_code == 202
    assert response.json["message_id_header"].endswith(f"@{domain}>")


def test_ten_megabytes_of_attachments_are_taken_and_a_byte_more_is_not(api):
    half = {"filename": "a.bin", "content_type": "application/octet-stream"}
    halves = [base64.b64encode(bytes(5 * 1024 * 1024 + extra)).decode() for extra in (0, 0, 1)]
    taken = api.send(attachments=[{**half, "content": content} for content in halves[:2]])
    refused = api.send(attachments=[{**half, "content": content} for content in halves[1:]])
    assert taken.status_code == 202
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json["errors"]] == ["/attachments"]


def test_fifty_copies_are_taken_and_one_more_is_not(api):
    copies = [f"copy{number}@example.com" for number in range(50)]
    assert api.send(cc=copies[:20], bcc=copies[20:]).status_code == 202
    refused = api.send(cc=copies[:20], bcc=[*copies[20:], "one.more@example.com"])
    assert [error["pointer"] for error in refused.json["errors"]] == ["/cc"]


def test_a_message_says_what_became_of_it(api):
    message_id = api.send().json["id"]
    api.house.deliver()
    message = api.get(f"/v1/messages/{message_id}").json
    assert (message["status"], message["next_attempt_at"]) == ("sent", None)
    assert TIME.fullmatch(message["finished_at"])
    [attempt] = message["attempts"]
    assert TIME.fullmatch(attempt.pop("started_at"))
    assert TIME.fullmatch(attempt.pop("finished_at"))
    assert attempt == {
        "transport": "capture",
        "outcome": "accepted",
        "phase": "final",
        "code": 250,
        "enhanced_code": None,
        "reply": "Captured, not sent.",
        "refused": {},
    }
    events = api.get(f"/v1/messages/{message_id}/events").json
    assert [event["name"] for event in events["data"]] == ["message.accepted", "message.sent"]
    assert events["next_cursor"] is None


def test_no_answer_about_a_message_holds_its_variables(api):
    """T2"""
    secret = "Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"
    first = api.post("/v1/messages", json=RESET, headers={"Idempotency-Key": "k"})
    again = api.post("/v1/messages", json=RESET, headers={"Idempotency-Key": "k"})
    path = f"/v1/messages/{first.json['id']}"
    answers = [first, again, api.get(path), api.get(f"{path}/events"), api.get("/v1/messages")]
    assert all(answer.status_code < 300 for answer in answers)
    assert not [answer for answer in answers if secret in answer.text]


def test_with_mail_switched_off_a_message_is_accepted_and_cancelled(house, reopen):
    off = reopen(MAIL_ENABLED="false")
    api = Api(off, house.add_client())
    response = api.send()
    assert (response.status_code, response.json["status"]) == (202, "cancelled")
    events = api.get(f"/v1/messages/{response.json['id']}/events").json["data"]
    assert [event["data"] for event in events if event["name"] == "message.cancelled"] == [{"reason": "mail_disabled"}]
    assert api.get("/inbox").status_code == 404
