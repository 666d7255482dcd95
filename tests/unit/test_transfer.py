"""How the parts of a letter travel: as they are where no relay would touch them, and encoded where one might."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_mime import LETTER, as_sent, assert_fit_for_the_wire, body_of, body_text, header_text, parse

from email_service.delivery import mime
from email_service.delivery.mime import Letter
from email_service.kernel.addresses import Mailbox


def encoding_of(text: str) -> str:
    """What the text part says, whose content has to be the text."""
    octets = mime.build(replace(LETTER, text=text))
    assert_fit_for_the_wire(octets)
    part = next(parse(octets).iter_parts())
    assert body_of(part) == as_sent(text)
    return part["Content-Transfer-Encoding"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        "\n\nHello,\n\nFromage\n...\n.x\n x = y\n--\n--x=_\n",
        "x" * 980 + "\n" + "y" * 980,
        ("x" * 979 + "\n") * 9,
        "a\r\nb\rc",
        "".join(map(chr, range(33, 127))),
        " > From here",
    ],
)
def test_plain_lines_travel_as_they_are(text):
    """RFC 2045 2.7"""
    assert encoding_of(text) == "7bit"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "trailing ",
            "trailing \nspace",
            "\t",
            "tab\tinside",
            "From here",
            "\nFrom there",
            ".",
            "\n.",
            ".\n",
            "a\n.\nb",
        ),
        *("\0", "\x1b[2J", "\x7f", "\x0c", "\x85", "Zo\u00eb", "x" * 981, "x\n" + "y" * 981 + "\nz"),
        *("x" * 980 + "\n" + "y" * 981, "--=_", "a\n--=_0000\n"),
    ],
)
def test_what_a_relay_may_touch_is_encoded(text):
    """T20: and a DKIM signature over it holds."""
    assert encoding_of(text) in {"quoted-printable", "base64"}


def test_no_content_holds_the_boundary_of_its_part():
    """T20: also not of a letter whose Message-ID is known before it is written."""
    boundary = parse(mime.build(LETTER)).get_boundary()
    for text in (f"--{boundary}\nx", f"a\n--{boundary}--\n", f"--{boundary}"):
        message = parse(mime.build(replace(LETTER, text=text, html=f"<p>\n{text}")))
        assert message.get_boundary() == boundary
        assert [body_of(part) for part in message.iter_parts()] == [as_sent(text), as_sent(f"<p>\n{text}")]


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9))])))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_date_is_written_as_the_standard_library_writes_it(date):
    """RFC 5322 3.3"""
    octets = mime.build(replace(LETTER, date=date))
    assert f"\r\nDate: {format_datetime(date)}\r\n".encode() in octets
    assert parse(octets)["Date"].datetime == date.replace(microsecond=0)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(0)), timezone(timedelta(hours=5, minutes=45))])
def test_a_date_keeps_its_zone(zone):
    date = datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=zone)
    assert f"\r\nDate: {format_datetime(date)}\r\n".encode() in mime.build(replace(LETTER, date=date))


def as_the_standard_library_has_it(letter: Letter) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = letter.subject
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message_from_bytes(message.as_bytes(), policy=policy.default)


@given(header_text.map(lambda text: " ".join(text.split())), body_text, body_text)
def test_a_letter_parses_to_what_the_standard_library_would_have_built(subject, text, html):
    """F13, T19, T20"""
    letter = replace(LETTER, subject=subject, text=text, html="<p>" + html)
    ours, theirs = parse(mime.build(letter)), as_the_standard_library_has_it(letter)
    assert ours.get_content_type() == theirs.get_content_type()
    for our_part, their_part in zip(ours.iter_parts(), theirs.iter_parts(), strict=True):
        assert our_part.get_content_type() == their_part.get_content_type()
        assert our_part.get_content_charset() == their_part.get_content_charset()
        ends = re.compile("\r\n?|\n")
        assert ends.sub("\n", body_of(our_part)).rstrip("\n") == ends.sub("\n", body_of(their_part)).rstrip("\n")


def test_each_letter_has_its_own_sender():
    for sender in (Mailbox("a@example.com", "A"), Mailbox("a@example.com"), Mailbox("b@example.com", "A")):
        message = parse(mime.build(replace(LETTER, sender=sender)))
        assert message["From"].addresses[0].addr_spec == sender.email
        assert message["From"].addresses[0].display_name == sender.name
