"""The table of suppressions: one row for each address and category of mail, found by the address's key."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.categories import EVERYTHING, NAME_LENGTH
from email_service.kernel.orm import Base


class Reason(StrEnum):
    """Why an address must not be mailed."""

    HARD_BOUNCE = "hard_bounce"  # the address does not exist
    COMPLAINT = "complaint"  # the reader called our mail spam
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


class Suppression(Base):
    """One address that must not be mailed, or not of one category."""

    __tablename__ = "suppressions"

    key: Mapped[str] = mapped_column(String(320), primary_key=True)  # kernel.addresses.address_key
    category: Mapped[str] = mapped_column(
        String(NAME_LENGTH), primary_key=True, default=EVERYTHING, server_default=EVERYTHING
    )  # of a manifest, or one of those of kernel.categories
    email: Mapped[str] = mapped_column(String(320))  # as it was first suppressed
    reason: Mapped[str] = mapped_column(String(20))
    message_id: Mapped[UUID | None]  # the message whose fate caused it, if one did
    created_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_suppressions_created_at_key_category", "created_at", "key", "category"),
        Index("ix_suppressions_reason_created_at_key_category", "reason", "created_at", "key", "category"),
        Index("ix_suppressions_category_created_at_key", "category", "created_at", "key"),
    )
