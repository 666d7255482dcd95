"""The tables of clients and their API keys. A key's secret is never here, only its SHA-256."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from email_service.kernel.orm import Base, Identified

PUBLIC_CLIENT_ID = UUID(int=1)  # whose messages answer public requests; it has no key, and a migration made it


class Client(Identified, Base):
    """An application that may call the internal API."""

    __tablename__ = "clients"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)  # such as messages:send; `*` is every scope
    rate_limit: Mapped[str | None] = mapped_column(String(100))  # replaces API_RATE_LIMIT, such as 100/second
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]  # from then on none of its keys opens anything

    keys: Mapped[list["ApiKey"]] = relationship(back_populates="client", order_by="ApiKey.id")


class ApiKey(Identified, Base):
    """One of the keys of a client; several live at once while they are being rotated."""

    __tablename__ = "api_keys"

    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id"), index=True)
    public_id: Mapped[str] = mapped_column(String(16), unique=True)  # the part of the key that is no secret
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # set on the old keys by a rotation
    last_used_at: Mapped[datetime | None]  # to the minute
    revoked_at: Mapped[datetime | None]

    client: Mapped[Client] = relationship(back_populates="keys")
