"""Turns a message and its rendered template into the parcel that a transport carries.

Touches neither database nor network.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from email_service.delivery import mime
from email_service.delivery.transport import Parcel
from email_service.messages.models import Message
from email_service.messages.submission import Attachment, Mailbox
from email_service.rendering.renderer import Rendered


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What goes along with a letter: its files, and the addresses that get a copy."""

    attachments: Sequence[Attachment] = ()
    copies: tuple[str, ...] = ()


def find_copies(message: Message) -> tuple[str, ...]:
    """The addresses that get a copy, each once and never the recipient's own."""
    copies = dict.fromkeys(each["email"] for each in (*message.cc, *message.bcc))
    return tuple(email for email in copies if email != message.recipient_email)


def pack(message: Message, rendered: Rendered, enclosed: Enclosed, default_sender: Mailbox) -> Parcel:
    """The parcel of one message. The same message and rendering give the same bytes, so a retry is the same mail."""
    sender = message.sender or default_sender
    letter = mime.Letter(
        message_id_header=message.message_id_header,
        date=message.created_at,
        sender=_mailbox(sender),
        to=mime.Mailbox(message.recipient_email, message.recipient_name),
        cc=tuple(_mailbox(each) for each in message.cc),
        reply_to=_mailbox(message.reply_to) if message.reply_to else None,
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
        headers=message.headers,
        attachments=tuple(_attachment(each) for each in enclosed.attachments),
    )
    return Parcel(
        message_id=str(message.id),
        sender=sender["email"],
        recipient=message.recipient_email,
        others=enclosed.copies,
        content=mime.build(letter),
    )


def _mailbox(mailbox: Mailbox | dict[str, str]) -> mime.Mailbox:
    return mime.Mailbox(mailbox["email"], mailbox["name"])


def _attachment(attachment: Attachment) -> mime.Attachment:
    return mime.Attachment(
        attachment["filename"],
        attachment["content_type"],
        base64.b64decode(attachment["content"]),
        attachment["content_id"],
    )
