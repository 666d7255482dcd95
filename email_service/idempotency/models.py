"""The table of recorded answers. None of them ever holds a token or a variable."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base


class IdempotencyRecord(Base):
    """The answer that was given to one client's key on one route."""

    __tablename__ = "idempotency_records"

    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id"), primary_key=True)
    route: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    answer: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(index=True)
