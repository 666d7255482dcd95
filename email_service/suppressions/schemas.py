"""The shapes of suppressions on the wire."""

from marshmallow import Schema, fields, validate

from email_service.kernel.categories import EVERYTHING, NAME_LENGTH, OPTIONAL
from email_service.suppressions.models import Reason
from email_service.web.fields import VISIBLE, EmailField, Instant

MAX_PAGE = 200
_KNOWN = validate.OneOf([reason.value for reason in Reason])


def _category(default: str | None) -> fields.String:
    return fields.String(
        load_default=default,
        validate=[validate.Length(1, NAME_LENGTH), VISIBLE],
        metadata={
            "description": f"Of which mail: a template's category, {OPTIONAL} (all that can be unsubscribed from), or "
            f"{EVERYTHING} (all)."
        },
    )


class SuppressionIn(Schema):
    """What may be said about an address that must not be mailed."""

    reason = fields.String(
        load_default=None, validate=_KNOWN, metadata={"description": "Left out: manual, or the one that is there."}
    )
    category = _category(EVERYTHING)


class SuppressionWhichIn(Schema):
    """Which suppression of an address is meant."""

    category = _category(EVERYTHING)


class SuppressionOut(Schema):
    """One address that must not be mailed."""

    email = fields.String(metadata={"example": "ada@example.com"})
    category = fields.String(metadata={"example": EVERYTHING, "description": "Of which mail; * is all."})
    reason = fields.String(validate=_KNOWN)
    message_id = fields.UUID(allow_none=True, metadata={"description": "The message whose bounce caused it."})
    created_at = Instant()


class SuppressionFilterIn(Schema):
    """Which suppressions, and which page of them."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_PAGE))
    cursor = fields.String(load_default=None)
    reason = fields.String(load_default=None, validate=_KNOWN)
    category = _category(None)
    email = EmailField(load_default=None)
    created_after = Instant(load_default=None)
    created_before = Instant(load_default=None)


class SuppressionListOut(Schema):
    """A page of suppressions, newest first."""

    data = fields.List(fields.Nested(SuppressionOut))
    next_cursor = fields.String(allow_none=True)
