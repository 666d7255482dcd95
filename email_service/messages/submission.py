"""What a client asks for when it sends a message, checked in shape and not yet accepted. Pure data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from email_service.kernel.errors import InvalidInputError


class Mailbox(TypedDict):
    """An address with the name to show for it; the name may be empty."""

    email: str
    name: str


class Attachment(TypedDict):
    """A file that goes with a message, as it is kept: content in base64."""

    filename: str
    content_type: str
    content: str
    content_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One message as it was asked for."""

    template: str
    to: Mailbox
    variables: Mapping[str, Any] = field(default_factory=dict)
    locale: str | None = None
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: Mailbox | None = None
    sender: Mailbox | None = None
    lane: str | None = None  # None: the template's own
    send_at: datetime | None = None
    expires_at: datetime | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    client_reference: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    is_forced: bool = False  # sent in spite of a suppression
    token_nonce: bytes | None = None  # of the token whose places the variables hold (kernel.derivation)


@dataclass(frozen=True, slots=True)
class Batch:
    """Many messages in one request, in order; an error stands for one whose shape is wrong already."""

    items: Sequence[Submission | InvalidInputError]
    is_atomic: bool  # all or none
