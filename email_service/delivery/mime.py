"""Turns a letter into the bytes that travel: RFC 5322 with MIME, CRLF only, 7-bit unless an address is not. Knows
nothing of templates, rows or transports; the same letter always gives the same bytes, and so does every retry.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from email_service.delivery.header_fields import field as header_field
from email_service.delivery.header_fields import mailboxes_field, parameter, structured_field, text_field
from email_service.kernel.addresses import Mailbox
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.headers import check_content_id, check_headers, check_media_type, check_message_id, check_text

_LINE_OCTETS = 76  # RFC 2045 6.8
_URL = re.compile(r"https?://[!-;=?-~]+")

# RFC 5322 2.1.1 lets a line have 998 octets, and sendmail cuts at 990 what it hands on.
_PLAIN_LINE_OCTETS = 980
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\n"
# A line that may be changed on its way, or taken for the end of its part. `re` jumps from line end to line end, which
# takes a third of the time of four plain searches.
_FRAGILE = re.compile(rb"\n(?:(?<= \n)|From |\.\n|--=_)")

_NO_OFFSET = timedelta(0)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_AUTO_SUBMITTED: Final = header_field("Auto-Submitted", [" auto-generated"])
_ONE_CLICK: Final = header_field("List-Unsubscribe-Post", [" List-Unsubscribe=One-Click"])
_MIME_VERSION: Final = header_field("MIME-Version", [" 1.0"])
_TEXT_FIELDS: Final = {
    (subtype, encoding): (
        header_field("Content-Type", [f" text/{subtype};", ' charset="utf-8"']),
        header_field("Content-Transfer-Encoding", [f" {encoding}"]),
    )
    for subtype in ("plain", "html")
    for encoding in ("7bit", "quoted-printable", "base64")
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that travels along; with a `content_id`, the html shows it as `cid:<content_id>`."""

    filename: str
    content_type: str
    content: bytes = field(repr=False)
    content_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Everything that a reader may see of one message; there is no place for a blind copy."""

    message_id_header: str  # with its angle brackets
    date: datetime  # aware
    sender: Mailbox
    to: Mailbox
    cc: tuple[Mailbox, ...] = ()
    reply_to: Mailbox | None = None
    subject: str
    html: str = field(repr=False)  # empty: the message has its text part only
    text: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)  # the caller's, held to kernel/headers
    attachments: tuple[Attachment, ...] = ()
    unsubscribe_url: str | None = None  # written as RFC 2369 and, with https, RFC 8058 want it


@dataclass(frozen=True, slots=True)
class _Part:
    """One MIME entity: its header fields, each with its line end, and its encoded body."""

    fields: tuple[str, ...]
    body: bytes

    def to_bytes(self) -> bytes:
        return "".join(self.fields).encode() + b"\r\n" + self.body


def build(letter: Letter) -> bytes:
    """The whole message, ready to be signed and sent. Raises InvalidInputError for what no header may hold."""
    fields = _head_fields(letter)
    content = _content(letter)
    head = _Part((*fields, *content.fields), content.body)
    return head.to_bytes() + b"\r\n"


def _head_fields(letter: Letter) -> list[str]:
    """The fields that say who, what and when, in the order that people expect them."""
    check_message_id("/message_id_header", letter.message_id_header)
    check_headers(letter.headers)
    fields = [_from_field(letter.sender), mailboxes_field("To", _pairs(letter.to))]
    if letter.cc:
        fields.append(mailboxes_field("Cc", _pairs(*letter.cc)))
    if letter.reply_to:
        fields.append(mailboxes_field("Reply-To", _pairs(letter.reply_to)))
    fields += [
        text_field("Subject", letter.subject),
        header_field("Date", [" ", _date(letter.date)]),
        # One chunk, never folded: a duplicate is recognised by these very bytes.
        header_field("Message-ID", [f" {letter.message_id_header}"]),
        _AUTO_SUBMITTED,
        *_unsubscribe_fields(letter.unsubscribe_url),
    ]
    for name, value in letter.headers.items():
        fields.append(text_field(name, value) if name.lower().startswith("x-") else structured_field(name, value))
    return [*fields, _MIME_VERSION]


@lru_cache(maxsize=256)
def _from_field(sender: Mailbox) -> str:
    """Remembered, because a service has few senders and many recipients."""
    return mailboxes_field("From", _pairs(sender))


def _date(date: datetime) -> str:
    """RFC 5322 3.3."""
    if date.utcoffset() != _NO_OFFSET:
        return format_datetime(date)
    day, month = _DAYS[date.weekday()], _MONTHS[date.month - 1]
    return f"{day}, {date.day:02} {month} {date.year:04} {date.hour:02}:{date.minute:02}:{date.second:02} +0000"


def _unsubscribe_fields(url: str | None) -> list[str]:
    if url is None:
        return []
    if not _URL.fullmatch(url):
        raise InvalidInputError.at("/unsubscribe_url", "The unsubscribe link has to be a web address.")
    # Only https may promise that one click is enough (RFC 8058 3.1).
    fields = [header_field("List-Unsubscribe", [f" <{url}>"])]
    return [*fields, _ONE_CLICK] if url.startswith("https:") else fields


def _pairs(*mailboxes: Mailbox) -> list[tuple[str, str]]:
    return [(mailbox.email, mailbox.name) for mailbox in mailboxes]


def _content(letter: Letter) -> _Part:
    """The tree of parts: mixed(alternative(text, related(html, images)), files), each level only where it is needed."""
    embedded = [_attached(attachment) for attachment in letter.attachments if attachment.content_id is not None]
    files = [_attached(attachment) for attachment in letter.attachments if attachment.content_id is None]
    content = _text("plain", letter.text)
    if letter.html:
        html = _text("html", letter.html)
        if embedded:
            html = _multipart('related; type="text/html"', [html, *embedded], letter.message_id_header)
        content = _multipart("alternative", [content, html], letter.message_id_header)
    else:
        files = embedded + files
    return _multipart("mixed", [content, *files], letter.message_id_header) if files else content


def _multipart(kind: str, parts: Sequence[_Part], message_id_header: str) -> _Part:
    # `=_` cannot occur in quoted-printable or base64 (RFC 2045 6.7), and no line of 7bit begins with `--=_`: so no
    # content can contain its own boundary.
    boundary = "=_" + hashlib.sha256(f"{kind} {message_id_header}".encode()).hexdigest()[:24]
    delimiter = f"--{boundary}".encode()
    pieces = [piece for part in parts for piece in (delimiter, part.to_bytes())]
    content_type = header_field("Content-Type", [f" multipart/{kind};", f' boundary="{boundary}"'])
    return _Part((content_type,), b"\r\n".join((*pieces, delimiter + b"--")))


def _text(subtype: str, text: str) -> _Part:
    """A text part as it is where that is safe, else in the shorter of quoted-printable and base64."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError.at(f"/{subtype}", "The text contains lone surrogates.") from None
    if _travels_well(octets):
        return _Part(_TEXT_FIELDS[subtype, "7bit"], octets.replace(b"\n", b"\r\n"))
    # With LF only, b2a_qp escapes what it must and breaks softly with LF; every LF then becomes the CRLF of the wire.
    body = binascii.b2a_qp(octets, istext=True).replace(b"\n", b"\r\n")
    # Four for three, and a line end behind every 76; only a text that is mostly not Latin needs the attempt.
    if (len(octets) + octets.count(b"\n")) * 4 // 3 * 78 // 76 < len(body):
        return _Part(_TEXT_FIELDS[subtype, "base64"], _base64(octets.replace(b"\n", b"\r\n")))
    return _Part(_TEXT_FIELDS[subtype, "quoted-printable"], body)


def _travels_well(octets: bytes) -> bool:
    """Whether this arrives through any relay as it is (7bit, RFC 2045 2.7), and a DKIM signature over it holds.

    Printable ASCII in short lines is the one content that no server converts (RFC 6376 5.3). Left to quoted-printable
    are white space at a line's end, which some strip; "From ", which mailboxes quote; a lone dot, which ends the
    message where it is not doubled; and what could be taken for a boundary of ours.
    """
    if octets.translate(None, _PRINTABLE):
        return False
    lines = b"\n%b\n" % octets
    if _FRAGILE.search(lines):
        return False
    start, last = 0, len(lines) - 1
    while last - start > _PLAIN_LINE_OCTETS:
        start = lines.rfind(b"\n", start + 1, start + _PLAIN_LINE_OCTETS + 2)
        if start < 0:
            return False
    return True


def _attached(attachment: Attachment) -> _Part:
    check_media_type("/attachments/content_type", attachment.content_type)
    check_text("/attachments/filename", attachment.filename)
    filename = attachment.filename.strip()
    if not filename:
        raise InvalidInputError.at("/attachments/filename", "An attachment needs a file name.")
    disposition = "attachment" if attachment.content_id is None else "inline"
    fields = [
        structured_field("Content-Type", attachment.content_type),
        header_field("Content-Transfer-Encoding", [" base64"]),
        header_field("Content-Disposition", [f" {disposition};", *parameter("filename", filename)]),
    ]
    if attachment.content_id is not None:
        check_content_id("/attachments/content_id", attachment.content_id)
        fields.append(header_field("Content-ID", [f" <{attachment.content_id}>"]))
    return _Part(tuple(fields), _base64(attachment.content))


def _base64(octets: bytes) -> bytes:
    encoded = binascii.b2a_base64(octets, newline=False)
    return b"\r\n".join(encoded[start : start + _LINE_OCTETS] for start in range(0, len(encoded), _LINE_OCTETS))
