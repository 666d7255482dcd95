"""What a reader that is not Python's finds in our mail: postal-mime in one Node process, fed a mail a line."""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from email_service.delivery import mime
from email_service.delivery.mime import Letter
from email_service.kernel.addresses import Mailbox
from tests import node_programs
from tests.letters import IMAGE, LETTER, PAPER, body_text, header_text

HOSTILE = [
    "",
    "\r\nBcc: m@evil.example",
    "From here\nFrom there\n.\n..\n.",
    "--=_" + "0" * 24,
    "\n--=_x--\n",
    "trailing \n\t\nspaces \t",
    "x" * 5_000 + "\n" + "y" * 979 + "\n" + "z" * 981,
    "=\n==3D=20=?utf-8?q?=0D=0A?=",
    "\x00\x0c\x1b\x7f\x85\u2028",
    "Zo\u00eb \u65e5\u672c\u8a9e \U0001f600\u200d \u0627\u0644\u0633",
    "\u65e5\u672c\u8a9e\n" * 400,
    '"quoted", (comment) <a@b.example>; \\ =?utf-8?b?8J+YgA==?=',
    "Ada <ada@evil.example>, b@evil.example",
]


@pytest.fixture(scope="module")
def read() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Hands one mail to the process and returns what it found."""
    with node_programs.talking("read_mail.js", "postal-mime") as ask:
        yield lambda mail: ask(base64.b64encode(mail).decode())


def lines(text: str | None) -> str:
    """A reader ends a body with a line end of its own, and may write all of them in its way."""
    return re.sub("\r\n?", "\n", text or "").rstrip("\n")


def people(*mailboxes: Mailbox) -> list[dict[str, str]]:
    return [{"address": each.email, "name": " ".join(each.name.split())} for each in mailboxes]


def found_people(found: Any) -> list[dict[str, str]]:
    return [{"address": each["address"], "name": " ".join(each["name"].split())} for each in found or []]


def content_of(letter: Letter) -> dict[str, Any]:
    """What a reader is to find in the letter."""
    names = ["from", "to", *["cc"] * bool(letter.cc), "subject", "date", "message-id", "auto-submitted", "mime-version"]
    is_plain = not (letter.html or letter.attachments)
    return {
        "names": [*names, "content-type", *["content-transfer-encoding"] * is_plain],
        "subject": letter.subject,
        "people": [people(letter.sender), people(letter.to), people(*letter.cc)],
        "message_id": letter.message_id_header,
        "bodies": [lines(letter.text), lines(letter.html)],
        "attachments": [
            (each.filename, each.content_type, base64.b64encode(each.content).decode()) for each in letter.attachments
        ],
    }


def found_content(found: dict[str, Any]) -> dict[str, Any]:
    """The same of what the reader told."""
    return {
        "names": found["names"],
        "subject": found.get("subject") or "",
        "people": [found_people([found["from"]]), found_people(found["to"]), found_people(found.get("cc"))],
        "message_id": found["messageId"],
        "bodies": [lines(found.get("text")), lines(found.get("html"))],
        "attachments": [(each["filename"], each["mimeType"], each["content"]) for each in found["attachments"]],
    }


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_arrive_as_they_were_written(read, text):
    """T20"""
    for letter in (
        replace(LETTER, text=text, html=f"<p>{text}"),
        replace(LETTER, text=text, html="", attachments=(PAPER,)),
        replace(LETTER, text=text, attachments=(IMAGE, PAPER)),
    ):
        assert found_content(read(mime.build(letter))) == content_of(letter)


@pytest.mark.parametrize("text", [each for each in HOSTILE if each.isprintable()])
def test_hostile_headers_read_back_as_themselves(read, text):
    """T15, T19"""
    name = text[:200].strip()
    letter = replace(
        LETTER, subject=text, to=Mailbox("ada@example.org", name), cc=(Mailbox("b@example.org", name),) * 3
    )
    assert found_content(read(mime.build(letter))) == content_of(letter)


@given(body_text, body_text, header_text)
def test_any_letter_reads_back_as_itself(read, text, html, subject):
    """T19, T20"""
    letter = replace(LETTER, subject=subject, text=text, html="<p>" + html, attachments=(IMAGE, PAPER))
    assert found_content(read(mime.build(letter))) == content_of(letter)
