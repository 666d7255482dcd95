"""What a reader that is not Python's finds in our mail: postal-mime in one Node process, fed a mail a line."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import servers
from hypothesis import given
from hypothesis import strategies as st

from email_service.delivery import mime
from email_service.delivery.mime import Attachment, Letter, Mailbox

HOME = Path(__file__).parent / "node"
LETTER = Letter(
    message_id_header="<0190b3c8@mail.example.com>",
    date=datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
    sender=Mailbox("no-reply@example.com", "Example"),
    to=Mailbox("ada@example.org", "Ada"),
    subject="Welcome",
    html="<p>Hello</p>",
    text="Hello",
)
IMAGE = Attachment("logo.png", "image/png", b"\x89PNG\r\n\x1a\n\x00.\r\n.\r\n", "logo@example.com")
PAPER = Attachment("Rechnung \u20ac 'x' \"y\".pdf", "application/pdf", bytes(range(256)) * 20)
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
header_text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)
body_text = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(" .\r\n-=F"), max_size=300)


@pytest.fixture(scope="module")
def read() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Hands one mail to the process and returns what it found."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _miss(f"{servers.NODE} is missing: {servers.HOW_TO_START[servers.NODE]}.")
    if not (HOME / "node_modules" / "postal-mime").is_dir():
        result = subprocess.run([npm, "ci"], cwd=HOME, capture_output=True, text=True, check=False, timeout=120)
        if result.returncode:
            _miss(f"{servers.NODE} is missing a package: run `npm ci` in tests/node with a registry in reach.")
    with subprocess.Popen([node, "read_mail.js"], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def ask(mail: bytes) -> dict[str, Any]:
            process.stdin.write(base64.b64encode(mail) + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask


def _miss(sentence: str) -> None:
    if servers.IN_CI:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def lines(text: str | None) -> str:
    """A reader ends a body with a line end of its own, and may write all of them in its way."""
    return re.sub("\r\n?", "\n", text or "").rstrip("\n")


def people(*mailboxes: Mailbox) -> list[dict[str, str]]:
    return [{"address": each.email, "name": " ".join(each.name.split())} for each in mailboxes]


def found_people(found: Any) -> list[dict[str, str]]:
    return [{"address": each["address"], "name": " ".join(each["name"].split())} for each in found or []]


def compare(found: dict[str, Any], letter: Letter) -> None:
    names = ["from", "to", *["cc"] * bool(letter.cc), "subject", "date", "message-id", "auto-submitted"]
    assert found["names"][:-1][: len(names) + 1] == [*names, "mime-version"]
    assert len(found["names"]) == len(names) + (2 if letter.html or letter.attachments else 3)
    assert (found.get("subject") or "") == letter.subject
    assert found_people([found["from"]]) == people(letter.sender)
    assert found_people(found["to"]) == people(letter.to)
    assert found_people(found.get("cc")) == people(*letter.cc)
    assert found["messageId"] == letter.message_id_header
    assert lines(found.get("text")) == lines(letter.text)
    assert lines(found.get("html")) == lines(letter.html)
    seen = [(each["filename"], each["mimeType"], each["content"]) for each in found["attachments"]]
    sent = [(each.filename, each.content_type, base64.b64encode(each.content).decode()) for each in letter.attachments]
    assert seen == sent


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_arrive_as_they_were_written(read, text):
    """T20"""
    for letter in (
        replace(LETTER, text=text, html=f"<p>{text}"),
        replace(LETTER, text=text, html="", attachments=(PAPER,)),
        replace(LETTER, text=text, attachments=(IMAGE, PAPER)),
    ):
        compare(read(mime.build(letter)), letter)


@pytest.mark.parametrize("text", [each for each in HOSTILE if each.isprintable()])
def test_hostile_headers_read_back_as_themselves(read, text):
    """T15, T19"""
    name = text[:200].strip()
    letter = replace(
        LETTER, subject=text, to=Mailbox("ada@example.org", name), cc=(Mailbox("b@example.org", name),) * 3
    )
    compare(read(mime.build(letter)), letter)


@given(body_text, body_text, header_text)
def test_any_letter_reads_back_as_itself(read, text, html, subject):
    """T19, T20"""
    letter = replace(LETTER, subject=subject, text=text, html="<p>" + html, attachments=(IMAGE, PAPER))
    compare(read(mime.build(letter)), letter)
