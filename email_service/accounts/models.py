"""The table of accounts: one row for each subject that the main app told us of."""

from datetime import datetime

from sqlalchemy import String, false
from sqlalchemy.orm import Mapped, mapped_column

from email_service.kernel.orm import Base


class Account(Base):
    """Somebody who exists in the main app."""

    __tablename__ = "accounts"

    subject: Mapped[str] = mapped_column(String(255), primary_key=True)  # the main app's own id
    email: Mapped[str] = mapped_column(String(320))  # where mail goes, as the main app wrote it
    email_key: Mapped[str] = mapped_column(String(320), unique=True)  # kernel.addresses.address_key
    name: Mapped[str] = mapped_column(String(200))
    locale: Mapped[str | None] = mapped_column(String(35))  # BCP 47
    email_verified: Mapped[bool]
    is_disabled: Mapped[bool] = mapped_column(server_default=false())  # no token is issued for it
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
