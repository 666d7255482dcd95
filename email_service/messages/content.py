"""What a message carries, taken out of its seal. Knows how it was sealed and nothing of what becomes of it."""

import json
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from email_service.kernel.crypto import Sealer
from email_service.messages.models import MessageContent
from email_service.messages.submission import Attachment


def open_variables(sealer: Sealer, message_id: UUID, sealed: bytes) -> dict[str, object]:
    """What the template is rendered with; SealBrokenError when no present key opens it."""
    opened: dict[str, object] = json.loads(sealer.open(sealed, f"messages.variables:{message_id}"))
    return opened


def read_attachments(session: Session, sealer: Sealer, message_id: UUID) -> list[Attachment]:
    """The files that go with the message."""
    sealed = session.scalar(select(MessageContent.attachments).where(MessageContent.message_id == message_id))
    if sealed is None:
        return []
    opened: list[Attachment] = json.loads(sealer.open(sealed, f"messages.attachments:{message_id}"))
    return opened
