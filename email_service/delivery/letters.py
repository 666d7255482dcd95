"""Turns a job into the parcel that a transport carries: renders it, builds its MIME and signs it.

Touches no network, and the database only for attachments, which are too large to be read ahead.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery import mime
from email_service.delivery.job import Job
from email_service.delivery.transport import Parcel
from email_service.kernel import addresses
from email_service.kernel.crypto import Sealer
from email_service.kernel.derivation import Deriver
from email_service.messages import content as contents
from email_service.messages.submission import Attachment, Mailbox
from email_service.rendering.catalog import Catalog
from email_service.rendering.renderer import Rendered, Renderer
from email_service.suppressions.links import Links, Reader


def sign_nothing(content: bytes, _sender_domain: str) -> bytes:
    """For services without a DKIM key."""
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Packer:
    """Everything that the making of a letter needs; one for a process, and every thread may use it."""

    sessions: sessionmaker[Session]
    catalog: Catalog
    renderer: Renderer
    sealer: Sealer
    deriver: Deriver
    default_sender: Mailbox
    links: Links | None  # None: readers cannot reach this service
    sign: Callable[[bytes, str], bytes] = sign_nothing

    def pack(self, job: Job) -> Parcel:
        """The parcel of one job, which learns the template's version. The same message and version give the same bytes.

        Raises InvalidInputError or RenderingError for what cannot be made into mail.
        """
        message = job.message
        variables = contents.open_variables(self.sealer, message.id, message.variables)
        if message.token_nonce is not None:
            variables = self.deriver.fill(variables, message.token_nonce)
        link = self._find_link(message)
        rendered = self.renderer.render(message.template, variables, message.locale, link)
        job.template_version = rendered.version
        sender: Mailbox = message.sender or self.default_sender
        content = mime.build(_write(message, rendered, sender, self._read_attachments(message), link))
        return Parcel(
            message_id=str(message.id),
            sender=sender["email"],
            recipient=message.recipient_email,
            others=job.copies,
            content=self.sign(content, sender["email"].rpartition("@")[2]),
        )

    def _find_link(self, message: Any) -> str | None:
        """The link by which the reader unsubscribes, if that is possible."""
        category = self.catalog.optional_category(message.template)
        # A copy is the same bytes, so its reader could speak for the recipient.
        if self.links is None or category is None or message.cc or message.bcc or message.token_nonce is not None:
            return None
        return self.links.write(Reader(message.recipient_email, category))

    def _read_attachments(self, message: Any) -> Sequence[Attachment]:
        if not message.has_attachments:
            return ()
        with self.sessions() as session:
            return contents.read_attachments(session, self.sealer, message.id)


def find_copies(message: Any) -> tuple[str, ...]:
    """The addresses that get a copy, each once and never the recipient's own."""
    if not message.cc and not message.bcc:
        return ()
    copies = dict.fromkeys(each["email"] for each in (*message.cc, *message.bcc))
    return tuple(email for email in copies if email != message.recipient_email)


def _write(
    message: Any, rendered: Rendered, sender: Mailbox, attachments: Sequence[Attachment], link: str | None
) -> mime.Letter:
    return mime.Letter(
        message_id_header=message.message_id_header,
        date=message.created_at,
        sender=_mailbox(sender),
        to=addresses.Mailbox(message.recipient_email, message.recipient_name),
        cc=tuple(_mailbox(each) for each in message.cc),
        reply_to=_mailbox(message.reply_to) if message.reply_to else None,
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
        headers=message.headers,
        attachments=tuple(_attachment(each) for each in attachments),
        unsubscribe_url=link,
    )


def _mailbox(mailbox: Mailbox | dict[str, str]) -> addresses.Mailbox:
    return addresses.Mailbox(mailbox["email"], mailbox["name"])


def _attachment(attachment: Attachment) -> mime.Attachment:
    return mime.Attachment(
        attachment["filename"],
        attachment["content_type"],
        base64.b64decode(attachment["content"]),
        attachment["content_id"],
    )
