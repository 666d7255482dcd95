"""The shapes of accounts on the wire."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from email_service.accounts.service import Profile
from email_service.web.fields import LOCALE, DisplayName, EmailField, Flag, Instant


class AccountIn(Schema):
    """What the main app says of an account; what is left out has its default, whatever it was before."""

    email = EmailField(required=True, metadata={"example": "ada@example.com"})
    name = DisplayName(load_default="", metadata={"example": "Ada"})
    locale = fields.String(load_default=None, allow_none=True, validate=LOCALE)
    email_verified = Flag(load_default=False)
    is_disabled = Flag(
        data_key="disabled",
        load_default=False,
        metadata={"description": "No token is issued for it, and those it has are revoked."},
    )

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Profile:
        return Profile(**data)


class AccountOut(Schema):
    """One account."""

    subject = fields.String()
    email = fields.String()
    name = fields.String()
    locale = fields.String(allow_none=True)
    email_verified = fields.Boolean()
    is_disabled = fields.Boolean(data_key="disabled")
    created_at = Instant()
    updated_at = Instant()


class ErasedOut(Schema):
    """What was forgotten with the account."""

    subject = fields.String()
    erased = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(validate=validate.Range(0)),
        metadata={"description": "How many rows, by what they were.", "example": {"tokens": 2, "messages": 5}},
    )
