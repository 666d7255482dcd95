"""The table of captured mail. Knows what was captured, and nothing of messages: a mail may outlive its message."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base, Identified


class CapturedMail(Identified, Base):
    """One parcel that would have left, exactly as it would have left."""

    __tablename__ = "captured_mails"

    message_id: Mapped[UUID]
    recipients: Mapped[list[str]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))  # the one in `to` first
    subject: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)  # empty: the mail has no html part
    text: Mapped[str] = mapped_column(Text)  # empty: the mail has no text part
    source: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # the exact bytes, read only when they are shown
    created_at: Mapped[datetime] = mapped_column(index=True)
