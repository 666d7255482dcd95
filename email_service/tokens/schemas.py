"""The shapes of tokens on the internal API."""

import json
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from email_service.kernel.derivation import CODE_DIGITS
from email_service.tokens.models import Token
from email_service.tokens.purposes import Purpose
from email_service.tokens.redemption import Presented
from email_service.web.fields import END, LOCALE, SUBJECT, EmailField, Flag, Instant, write_instant

MAX_CONTEXT_BYTES = 4096
MIN_TTL_SECONDS, MAX_TTL_SECONDS = 60, 30 * 86_400
_TOKEN_CHARACTERS = 200  # more than any token has; what is longer is none


def _purpose(**kwargs: Any) -> fields.String:
    return fields.String(validate=validate.OneOf([purpose.value for purpose in Purpose]), **kwargs)


class TokenIn(Schema):
    """One token to issue."""

    purpose = _purpose(required=True)
    subject = fields.String(
        required=True, validate=SUBJECT, metadata={"description": "The account's id in the main app."}
    )
    email = EmailField(
        load_default=None, allow_none=True, metadata={"description": "Left out: the address of the account."}
    )
    locale = fields.String(load_default=None, allow_none=True, validate=LOCALE)
    variables = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        metadata={"description": "For the purpose's template; the link, the code and the lifetime are added."},
    )
    context = fields.Dict(
        keys=fields.String(), load_default=dict, metadata={"description": "Told to whoever redeems the token."}
    )
    ttl_seconds = fields.Integer(
        load_default=None, allow_none=True, strict=True, validate=validate.Range(MIN_TTL_SECONDS, MAX_TTL_SECONDS)
    )
    is_delivered = Flag(
        data_key="deliver",
        load_default=True,
        metadata={"description": "False: no mail is sent, and the answer holds the token, the code or both."},
    )

    @validates_schema
    def _check_whole(self, data: dict[str, Any], **_: Any) -> None:
        try:
            written = json.dumps(data["context"], allow_nan=False)
        except ValueError:
            raise ValidationError("holds a number that is too large", "context") from None
        if len(written) > MAX_CONTEXT_BYTES:
            raise ValidationError(f"may have at most {MAX_CONTEXT_BYTES} bytes as JSON", "context")

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "purpose": Purpose(data["purpose"])}


class TokenIssuedOut(Schema):
    """What is said of a token when it is issued."""

    id = fields.UUID()
    purpose = _purpose()
    subject = fields.String()
    expires_at = Instant()
    message_id = fields.UUID(allow_none=True, metadata={"description": "The message that carries it."})
    token = fields.String(metadata={"description": "Only with deliver: false.", "is_optional": True})
    code = fields.String(
        metadata={"description": "Only with deliver: false, for purposes that have a code.", "is_optional": True}
    )


class LinkIn(Schema):
    """A token as somebody presents it."""

    purpose = _purpose(required=True)
    token = fields.String(required=True, validate=validate.Length(1, _TOKEN_CHARACTERS))

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Presented:
        return Presented(**{**data, "purpose": Purpose(data["purpose"])})


class RedemptionIn(Schema):
    """A token, or a code with the address that it was mailed to."""

    purpose = _purpose(required=True)
    token = fields.String(validate=validate.Length(1, _TOKEN_CHARACTERS))
    email = EmailField()
    code = fields.String(
        validate=validate.Regexp(f"^[0-9]{{{CODE_DIGITS}}}" + END, error=f"has to be {CODE_DIGITS} digits")
    )

    @validates_schema
    def _check_whole(self, data: dict[str, Any], **_: Any) -> None:
        given = data.keys() - {"purpose"}
        if given not in ({"token"}, {"email", "code"}):
            raise ValidationError("Give either the token, or the email and the code.")

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Presented:
        return Presented(**{**data, "purpose": Purpose(data["purpose"])})


class TokenOut(Schema):
    """A token that could be redeemed now."""

    valid = fields.Constant(True)
    purpose = _purpose()
    subject = fields.String()
    email = fields.String()
    context = fields.Dict()
    issued_at = Instant()
    expires_at = Instant()


class RedeemedOut(Schema):
    """Whose token it was, and what its issuer wanted to be told."""

    purpose = _purpose()
    subject = fields.String()
    email = fields.String()
    context = fields.Dict()
    issued_at = Instant()


class TokenFilterIn(Schema):
    """Which tokens to revoke."""

    subject = fields.String(required=True, validate=SUBJECT)
    purpose = _purpose(load_default=None)


class RevokedOut(Schema):
    """How many were live."""

    revoked = fields.Integer()


def tell_issued(token: Token) -> dict[str, Any]:
    """What is recorded and answered of a new token; never its secret."""
    return {
        "id": str(token.id),
        "purpose": token.purpose,
        "subject": token.subject,
        "expires_at": write_instant(token.expires_at),
        "message_id": token.message_id and str(token.message_id),
    }


def tell_redeemed(row: Any) -> dict[str, Any]:
    """What is recorded and answered when a token was redeemed."""
    return {
        "purpose": row.purpose,
        "subject": row.subject,
        "email": row.email,
        "context": row.context,
        "issued_at": write_instant(row.issued_at),
    }
