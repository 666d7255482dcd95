"""The mail that each template becomes in each locale: read alike by Python and Node.js, small, complete, no spam."""

import base64
import html
import re
from collections.abc import Callable, Iterable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import pytest
import servers

from tests import mailed_gallery, missing, node_programs, spam
from tests.gallery import BRAND, CATALOG, PIECES, RIGHT_TO_LEFT, Piece
from tests.hosted import Document
from tests.mailed_gallery import READER, SENDER
from tests.spam import Verdict

SIZE_LIMIT = 60_000  # octets; Gmail hides what comes after 102,000
HIGHEST_SCORE = 1.0
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"  # which every filter takes for spam
SUBJECT_LIMIT = 78  # characters; a phone shows about half of that


@pytest.fixture(scope="module")
def mails(tmp_path_factory) -> dict[Piece, bytes]:
    return mailed_gallery.deliver(f"sqlite:///{tmp_path_factory.mktemp('mails')}/mails.db")


@pytest.fixture(scope="module")
def read_with_node() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    with node_programs.talking("read_mail.js", "postal-mime") as ask:
        yield lambda mail: ask(base64.b64encode(mail).decode())


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Callable[[Iterable[bytes]], dict[str, Verdict]]:
    program = spam.find()
    if program is None:
        missing.give_up(servers.SPAMASSASSIN)
    return lambda asked: spam.judge(program, asked, tmp_path_factory.mktemp("spam"))


@pytest.fixture(scope="module")
def verdicts(mails, judge) -> dict[str, Verdict]:
    """By Message-ID."""
    return judge(mails.values())


@pytest.fixture(params=PIECES, ids=str)
def piece(request) -> Piece:
    return request.param


@pytest.fixture
def message(mails, piece) -> EmailMessage:
    return message_from_bytes(mails[piece], policy=policy.default)


def body_of(message: EmailMessage, kind: str) -> str:
    """The one part of this kind; a mail's last line ends as a reader likes."""
    [part] = [part for part in message.walk() if part.get_content_type() == f"text/{kind}"]
    return part.get_content().replace("\r\n", "\n").rstrip("\n")


def joined(text: str) -> str:
    """On one line, with a space of one kind between two words."""
    return " ".join(text.split())


def page_of(message: EmailMessage) -> Document:
    return Document(body_of(message, "html"))


def fields_of(mail: bytes) -> list[tuple[str, str]]:
    """Each header field as it was written, on one line."""
    raw = message_from_bytes(mail, policy=policy.compat32)
    return [(name.lower(), re.sub(r"\r?\n", "", str(value))) for name, value in raw.items()]


def test_python_and_node_read_the_same_mail_and_it_is_what_was_rendered(mails, read_with_node, piece, message):
    """T19, T20"""
    mail, rendered = mails[piece], piece.render(unsubscribe_url=str(message["List-Unsubscribe"]).strip("<>"))
    found = read_with_node(mail)
    assert list(zip(found["names"], found["values"], strict=True)) == fields_of(mail)
    people = [(each["address"], each["name"]) for each in (found["from"], *found["to"])]
    assert people == [(SENDER.email, SENDER.name), (READER.email, READER.name)]
    assert people == [
        (each.addr_spec, each.display_name) for name in ("From", "To") for each in message[name].addresses
    ]
    assert found["subject"] == message["Subject"] == rendered.subject
    assert found["messageId"] == message["Message-ID"]
    for kind, written in (("text", rendered.text), ("html", rendered.html)):
        assert found[kind].replace("\r\n", "\n").rstrip("\n") == written.rstrip("\n")
        assert body_of(message, {"text": "plain"}.get(kind, kind)) == written.rstrip("\n")
    assert (found["attachments"], message.defects) == ([], [])


def test_a_mail_is_small(mails, piece, message):
    assert len(body_of(message, "html").encode()) < SIZE_LIMIT
    assert len(mails[piece]) < SIZE_LIMIT
    assert len(message["Subject"]) <= SUBJECT_LIMIT


def test_the_language_and_its_direction_are_told(piece, message):
    """WCAG 2.2, 3.1.1"""
    [root] = page_of(message).all("html")
    is_reversed = piece.locale.partition("-")[0] in RIGHT_TO_LEFT
    assert (root["lang"], root["dir"]) == (piece.locale, "rtl" if is_reversed else "ltr")


def test_a_mail_fetches_nothing_but_the_logo(message):
    """T22"""
    page = page_of(message)
    for image in page.all("img"):
        assert (image["src"], bool(image["alt"])) == (BRAND.logo_url, True)
    tags = {tag for tag, _ in page.elements}
    assert tags & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio", "svg"} == set()
    for _, attributes in page.elements:
        assert {"background", "srcset", "poster"} & attributes.keys() == set()
    assert re.findall(r"(?i)url\(|@import|@font-face|\bon\w+=", body_of(message, "html")) == []


def test_links_are_https_and_stand_in_the_text_too(message):
    """T22: whoever reads the text part alone can do all that the mail asks for."""
    links = {each["href"] for each in page_of(message).all("a")}
    assert {urlsplit(link).scheme for link in links} <= {"https", "mailto"}
    assert "http://" not in body_of(message, "html") + body_of(message, "plain")
    text = body_of(message, "plain")
    assert [link for link in links if link.removeprefix("mailto:") not in text] == []


def test_the_text_says_what_the_page_says(piece, message):
    """Only the button's label and the advice about a button that does not work have no place in it."""
    language = CATALOG.words.speak(piece.locale)
    about_buttons = {joined(language.find(piece.name, entry) or "") for entry in ("button", "fallback")}
    page = re.sub(r"(?s).*<body[^>]*>|<div class=\"preheader\".*?</div>|<!--.*?-->", "", body_of(message, "html"))
    said = {joined(html.unescape(each)) for each in re.split(r"<[^>]*>", page)}
    text = body_of(message, "plain")
    assert {each for each in said if each not in joined(text)} <= about_buttons
    assert re.findall(r"</?[a-z]+[^>]*>|&[a-z]+;|\n{4}", text) == []


@pytest.mark.timeout(300)  # the first of these waits for the verdicts on all
def test_spamassassin_has_nothing_against_it(verdicts, message):
    verdict = verdicts[message["Message-ID"]]
    assert verdict.score < HIGHEST_SCORE, verdict


def test_spamassassin_tells_spam_from_mail(mails, judge):
    good = mails[PIECES[0]]
    bad = good.replace(b"\r\n\r\n", f"\r\n\r\n{GTUBE}\r\n".encode(), 2)  # also at the start of the text
    [verdict] = judge([bad]).values()
    assert verdict.score > 500
