"""The table of suppressions: one row for each address, found by its key."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base


class Reason(StrEnum):
    """Why an address must not be mailed."""

    HARD_BOUNCE = "hard_bounce"  # the address does not exist
    COMPLAINT = "complaint"  # the reader called our mail spam
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


class Suppression(Base):
    """One address that must not be mailed."""

    __tablename__ = "suppressions"

    key: Mapped[str] = mapped_column(String(320), primary_key=True)  # kernel.addresses.address_key
    email: Mapped[str] = mapped_column(String(320))  # as it was first suppressed
    reason: Mapped[str] = mapped_column(String(20))
    message_id: Mapped[UUID | None]  # the message whose fate caused it, if one did
    created_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_suppressions_created_at_key", "created_at", "key"),
        Index("ix_suppressions_reason_created_at_key", "reason", "created_at", "key"),
    )
