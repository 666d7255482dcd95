"""A message with everything in it, byte by byte through STARTTLS and AUTH; and what a wrong password does."""

import base64
import json
import re
import sqlite3
from email import message_from_bytes, policy

from tests.journeys.mailbag import smtp_settings
from tests.journeys.processes import wait_until

CREDENTIALS = ("acme", "correct horse battery staple")
PDF = bytes(range(256)) * 40 + b"\r\n.\r\n"
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WHOLE = {
    "to": {"email": "ada@example.com", "name": "Ada Lovelace"},
    "variables": {"name": "Zoë"},
    "cc": ["cc@example.com", {"email": "second@example.com", "name": "Größe, Second"}],
    "bcc": ["hidden@example.net"],
    "reply_to": {"email": "help@acme.example", "name": "Help"},
    "headers": {"X-Order": "42"},
    "attachments": [
        {"filename": "invoice.pdf", "content_type": "application/pdf", "content": base64.b64encode(PDF).decode()},
        {
            "filename": "dot.gif",
            "content_type": "image/gif",
            "content": base64.b64encode(PIXEL).decode(),
            "content_id": "dot",
        },
    ],
}


def test_a_message_arrives_over_starttls_and_auth_as_it_was_sent(house, serve_mail, server_context, ca_file):
    server = serve_mail(tls="starttls", context=server_context, credentials=CREDENTIALS)
    installation = house(**_settings(server, ca_file, CREDENTIALS[1]))
    web = installation.serve()
    accepted = web.send(**WHOLE)
    sent = web.wait_for(accepted, "sent")
    (attempt,) = sent["attempts"]
    assert (attempt["outcome"], attempt["code"], attempt["phase"]) == ("accepted", 250, "final")
    (conversation,) = server.conversations
    assert (conversation.is_encrypted, conversation.is_authenticated) == (True, True)
    (received,) = server.messages
    assert received.mail_from == "mail@acme.example"
    assert sorted(received.rcpt_to) == [
        "ada@example.com",
        "cc@example.com",
        "hidden@example.net",
        "second@example.com",
    ]
    _check_bytes(received.raw)
    _check_headers(received.content, accepted["message_id_header"])
    _check_parts(received.content, web)
    assert requests_to_inbox(web) == 404
    assert CREDENTIALS[1] not in installation.logs()


def test_a_wrong_password_delivers_nothing_and_burns_no_attempt(house, serve_mail, server_context, ca_file):
    server = serve_mail(tls="starttls", context=server_context, credentials=CREDENTIALS)
    wrong = "not the password of acme"
    installation = house(**_settings(server, ca_file, wrong))
    web = installation.serve()
    accepted = web.send()
    deferred = web.wait_for(accepted, "deferred")
    (attempt,) = deferred["attempts"]
    assert (attempt["phase"], attempt["code"], attempt["enhanced_code"]) == ("auth", 535, "5.7.8")
    assert "authentication failed" in attempt["reply"]
    assert deferred["next_attempt_at"] is not None
    with sqlite3.connect(installation.folder / "var/email_service.db") as database:
        assert database.execute("SELECT attempt_count FROM messages").fetchall() == [(0,)]
    database.close()
    assert server.received == []
    for form in (
        wrong,
        base64.b64encode(wrong.encode()).decode(),
        base64.b64encode(f"\0acme\0{wrong}".encode()).decode(),
    ):
        assert form not in installation.logs()
        assert form not in json.dumps(deferred)
    assert wait_until(lambda: "route.down" in installation.logs())


def _settings(server, ca_file, password):
    return smtp_settings(
        server,
        MAIL_USE_TLS="true",
        MAIL_CA_FILE=str(ca_file),
        MAIL_USERNAME=CREDENTIALS[0],
        MAIL_PASSWORD=password,
    )


def requests_to_inbox(web):
    return web.call("GET", "/inbox").status_code


def _check_bytes(raw):
    """Only CRLF, nothing but ASCII, lines that every server takes (RFC 5321 4.5.3.1.6), one end."""
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.endswith(b"\r\n.\r\n")
    assert raw.count(b"\r\n.\r\n") == 1


def _check_headers(content, message_id_header):
    head = content.partition(b"\r\n\r\n")[0]
    assert len(re.findall(rb"(?mi)^message-id:", content)) == 1
    assert not re.search(rb"(?mi)^bcc:", head)
    assert b"hidden@example.net" not in content
    mail = message_from_bytes(content, policy=policy.default)
    assert mail.defects == []
    assert mail["Message-ID"] == message_id_header
    assert [(each.display_name, each.addr_spec) for each in mail["To"].addresses] == [
        ("Ada Lovelace", "ada@example.com")
    ]
    assert [(each.display_name, each.addr_spec) for each in mail["Cc"].addresses] == [
        ("", "cc@example.com"),
        ("Größe, Second", "second@example.com"),
    ]
    assert str(mail["From"]) == "Acme <mail@acme.example>"
    assert str(mail["Reply-To"]) == "Help <help@acme.example>"
    assert mail["X-Order"] == "42"


def _check_parts(content, web):
    mail = message_from_bytes(content, policy=policy.default)
    rendered = web.call("POST", "/v1/templates/welcome/render", json={"variables": WHOLE["variables"]}).json()
    assert str(mail["Subject"]) == rendered["subject"]
    for subtype in ("plain", "html"):
        body = mail.get_body(preferencelist=(subtype,)).get_content()
        assert body.replace("\r\n", "\n").strip() == rendered["text" if subtype == "plain" else "html"].strip()
    leaves = {part.get_filename(): part for part in mail.walk() if part.get_filename()}
    assert leaves["invoice.pdf"].get_content() == PDF
    assert leaves["invoice.pdf"].get_content_type() == "application/pdf"
    assert leaves["invoice.pdf"].get_content_disposition() == "attachment"
    assert leaves["dot.gif"].get_content() == PIXEL
    assert (leaves["dot.gif"]["Content-ID"], leaves["dot.gif"].get_content_disposition()) == ("<dot>", "inline")
