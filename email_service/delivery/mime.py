"""Turns a letter into the bytes that travel: RFC 5322 with MIME, CRLF only, 7-bit unless an address is not. Knows
nothing of templates, rows or transports; the same letter always gives the same bytes, and so does every retry.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from email_service.delivery.header_fields import field as header_field
from email_service.delivery.header_fields import mailboxes_field, parameter, structured_field, text_field
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.headers import check_content_id, check_headers, check_media_type, check_message_id, check_text

_LINE_OCTETS = 76  # RFC 2045 6.8
_URL = re.compile(r"https://[!-;=?-~]+")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A bare address, its domain in A-labels, and the name shown with it."""

    email: str
    name: str = ""


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
    unsubscribe_url: str | None = None  # https; written as RFC 8058 wants it


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
    fields = [mailboxes_field("From", _pairs(letter.sender)), mailboxes_field("To", _pairs(letter.to))]
    if letter.cc:
        fields.append(mailboxes_field("Cc", _pairs(*letter.cc)))
    if letter.reply_to:
        fields.append(mailboxes_field("Reply-To", _pairs(letter.reply_to)))
    fields += [
        text_field("Subject", letter.subject),
        header_field("Date", [f" {format_datetime(letter.date)}"]),
        # One chunk, never folded: a duplicate is recognised by these very bytes.
        header_field("Message-ID", [f" {letter.message_id_header}"]),
        header_field("Auto-Submitted", [" auto-generated"]),
        *_unsubscribe_fields(letter.unsubscribe_url),
    ]
    for name, value in letter.headers.items():
        fields.append(text_field(name, value) if name.lower().startswith("x-") else structured_field(name, value))
    return [*fields, header_field("MIME-Version", [" 1.0"])]


def _unsubscribe_fields(url: str | None) -> list[str]:
    if url is None:
        return []
    if not _URL.fullmatch(url):
        raise InvalidInputError.at("/unsubscribe_url", "The unsubscribe link has to be an https URL.")
    return [
        header_field("List-Unsubscribe", [f" <{url}>"]),
        header_field("List-Unsubscribe-Post", [" List-Unsubscribe=One-Click"]),
    ]


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
    # `=_` cannot occur in quoted-printable or base64, so no content can contain its own boundary (RFC 2045 6.7).
    boundary = "=_" + hashlib.sha256(f"{kind} {message_id_header}".encode()).hexdigest()[:32]
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part.to_bytes()) for part in parts)
    content_type = header_field("Content-Type", [f" multipart/{kind};", f' boundary="{boundary}"'])
    return _Part((content_type,), body + b"--%b--" % boundary.encode())


def _text(subtype: str, text: str) -> _Part:
    """A text part in the shorter of quoted-printable and base64."""
    try:
        octets = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    except UnicodeEncodeError:
        raise InvalidInputError.at(f"/{subtype}", "The text contains lone surrogates.") from None
    # With LF only, b2a_qp escapes what it must and breaks softly with LF; every LF then becomes the CRLF of the wire.
    body = binascii.b2a_qp(octets, istext=True).replace(b"\n", b"\r\n")
    encoding = "quoted-printable"
    # Four for three, and a line end behind every 76; only a text that is mostly not Latin needs the attempt.
    if (len(octets) + octets.count(b"\n")) * 4 // 3 * 78 // 76 < len(body):
        body, encoding = _base64(octets.replace(b"\n", b"\r\n")), "base64"
    return _Part(
        (
            header_field("Content-Type", [f" text/{subtype};", ' charset="utf-8"']),
            header_field("Content-Transfer-Encoding", [f" {encoding}"]),
        ),
        body,
    )


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
