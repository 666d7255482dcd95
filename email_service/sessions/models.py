"""The tables of sessions and of their refresh tokens. No usable token is in any of them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base, Identified

IP_LENGTH = 45
USER_AGENT_LENGTH = 400


class RevokeReason(StrEnum):
    """Why a session ended before its time."""

    SIGNED_OUT = "signed_out"  # whoever held a refresh token of it gave it back
    REVOKED = "revoked"  # a client ended all sessions of the subject, or the account changed
    REUSE = "reuse"  # a refresh token was presented that had been replaced


class UserSession(Identified, Base):
    """One sign-in of one subject: a family of refresh tokens."""

    __tablename__ = "sessions"

    subject: Mapped[str] = mapped_column(String(255))
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id"))  # who started it
    claims: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))  # of its access tokens
    ip: Mapped[str | None] = mapped_column(String(IP_LENGTH))  # of the person, as the client told it
    user_agent: Mapped[str | None] = mapped_column(String(USER_AGENT_LENGTH))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]  # when its present refresh token was issued
    idle_expires_at: Mapped[datetime]  # moves on with every use
    expires_at: Mapped[datetime]  # does not move
    revoked_at: Mapped[datetime | None]
    revoke_reason: Mapped[str | None] = mapped_column(String(30))

    __table_args__ = (Index("ix_sessions_subject_id", "subject", "id"),)


class RefreshToken(Identified, Base):
    """One refresh token; those that were replaced stay, so that they are known when they come again."""

    __tablename__ = "refresh_tokens"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    # The token that it replaced. Unique, so that no family forks, whatever races there are.
    parent_id: Mapped[UUID | None] = mapped_column(unique=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(36))  # what the token is made from, with a key that is not here
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    issued_at: Mapped[datetime]
    used_at: Mapped[datetime | None]  # when it was replaced
