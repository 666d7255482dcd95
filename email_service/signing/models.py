"""The table of signing keys. The private half is sealed under SECRET_KEY."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base


class SigningKey(Base):
    """One key pair for ES256 (RFC 7518 3.4)."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(43), primary_key=True)  # `kid`: the key's thumbprint (RFC 7638)
    private_key: Mapped[bytes] = mapped_column(LargeBinary)  # PKCS #8, sealed
    public_key: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))  # RFC 7517
    published_at: Mapped[datetime]
    active_from: Mapped[datetime]  # later than that it was published, so that every verifier has it by then
    retired_at: Mapped[datetime | None]  # when its last signature has expired; from then on it is not published
