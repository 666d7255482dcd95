"""The table of audit events. Rows are added and, after their retention, deleted; nobody changes one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base, Identified


class AuditEvent(Identified, Base):
    """One thing that somebody did."""

    __tablename__ = "audit_events"

    name: Mapped[str] = mapped_column(String(50))  # in the past tense, such as suppression.added
    actor: Mapped[str] = mapped_column(String(150))  # client:NAME, operator, or worker
    client_id: Mapped[UUID | None]
    subject: Mapped[str] = mapped_column(String(320))  # what it was done to: an address, a message id, a client's name
    ip: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(128))
    data: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))
    occurred_at: Mapped[datetime]

    __table_args__ = (
        # For the list: each filter in its order.
        Index("ix_audit_events_subject_id", "subject", "id"),
        Index("ix_audit_events_name_id", "name", "id"),
        Index("ix_audit_events_actor_id", "actor", "id"),
    )
