"""The tables of tokens and of public requests for them. No usable token is in any of them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base, Identified

_LIVE = text("consumed_at IS NULL AND revoked_at IS NULL")


class Token(Identified, Base):
    """One single-use secret of one subject, for one purpose."""

    __tablename__ = "tokens"

    purpose: Mapped[str] = mapped_column(String(30))
    subject: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(320))  # where it was mailed to, or would have been
    email_key: Mapped[str] = mapped_column(String(320))  # kernel.addresses.address_key
    nonce: Mapped[bytes] = mapped_column(LargeBinary(36))  # what the token is made from, with a key that is not here
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)  # null: there is only a code
    code_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    code_try_count: Mapped[int] = mapped_column(default=0)
    context: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))  # told at redemption
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id"))  # who issued it
    message_id: Mapped[UUID | None]  # that carries it; null: the caller delivers it
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    consumed_at: Mapped[datetime | None]
    consumed_by: Mapped[bytes | None] = mapped_column(LargeBinary(32))  # SHA-256 of the redeemer's Idempotency-Key
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        # At most one live token of a subject and purpose, whatever races there are.
        Index(
            "uq_tokens_subject_purpose_live",
            "subject",
            "purpose",
            unique=True,
            postgresql_where=_LIVE,
            sqlite_where=_LIVE,
        ),
        Index("ix_tokens_email_key_purpose_live", "email_key", "purpose", postgresql_where=_LIVE, sqlite_where=_LIVE),
    )


class TokenRequest(Identified, Base):
    """Somebody asked publicly for a token; a worker finds out whether anybody gets one."""

    __tablename__ = "token_requests"

    purpose: Mapped[str] = mapped_column(String(30))
    email: Mapped[str] = mapped_column(String(320))
    locale: Mapped[str | None] = mapped_column(String(35))
    ip: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str] = mapped_column(String(128))
    trace_parent: Mapped[str | None] = mapped_column(String(55))
    requested_at: Mapped[datetime]
    due_at: Mapped[datetime]
    try_count: Mapped[int] = mapped_column(default=0)

    __table_args__ = (Index("ix_token_requests_due_at", "due_at"),)
