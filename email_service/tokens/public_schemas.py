"""The shapes of tokens on the public API, which tell nobody whether an account exists."""

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from email_service.extensions import ProblemOut
from email_service.kernel import clock
from email_service.tokens.purposes import RULES
from email_service.web.fields import LOCALE, EmailField, Instant

ASSERTION_TYPE = "assertion+jwt"
ASSERTION_SECONDS = 300

_HOUR_SECONDS = 3600
_PUBLIC_PURPOSES = [purpose.value for purpose, rule in RULES.items() if rule.is_public]
_MESSAGE = "If an account exists with this email, you will receive an email shortly."


class MailWishIn(Schema):
    """Who should get a mail with a token, if there is such an account."""

    purpose = fields.String(required=True, validate=validate.OneOf(_PUBLIC_PURPOSES))
    email = EmailField(required=True, metadata={"example": "ada@example.com"})
    locale = fields.String(
        load_default=None,
        allow_none=True,
        validate=LOCALE,
        metadata={"description": "Of the mail; left out: the account's own."},
    )


class PromiseOut(Schema):
    """The same for everybody."""

    message = fields.String(metadata={"example": _MESSAGE})
    token_expires_in_hours = fields.Integer(metadata={"description": "Rounded up."})
    rate_limited = fields.Boolean()


class TooManyWishesOut(ProblemOut):
    """A problem that also says what the ordinary answer would have said."""

    message = fields.String()
    token_expires_in_hours = fields.Integer()
    rate_limited = fields.Boolean()


class ValidOut(Schema):
    """A token that could be redeemed now."""

    valid = fields.Constant(True)
    purpose = fields.String()
    expires_at = Instant()


class AssertionOut(Schema):
    """Whose token it was, and a proof of it."""

    purpose = fields.String()
    subject = fields.String()
    email = fields.String()
    assertion = fields.String(
        metadata={
            "description": "A JWT of five minutes, for the keys of /.well-known/jwks.json; its `jti` is the token's id."
        }
    )


def promise(ttl_seconds: int) -> dict[str, Any]:
    """The one answer to every request for a mail with a token that lives so long."""
    return {"message": _MESSAGE, "token_expires_in_hours": -(-ttl_seconds // _HOUR_SECONDS), "rate_limited": False}


def tell_redeemed(row: Any, audience: str, sign: Callable[[Mapping[str, Any], str], str]) -> dict[str, Any]:
    """What is answered when this token was redeemed, with an assertion signed now: also a repeated one is fresh."""
    now = int(clock.now().timestamp())
    claims = {
        "sub": row.subject,
        "aud": audience,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": str(row.id),
        "purpose": row.purpose,
        "email": row.email,
    }
    return {
        "purpose": row.purpose,
        "subject": row.subject,
        "email": row.email,
        "assertion": sign(claims, ASSERTION_TYPE),
    }
