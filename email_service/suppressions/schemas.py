"""The shapes of suppressions on the wire."""

from marshmallow import Schema, fields, validate

from email_service.suppressions.models import Reason
from email_service.web.fields import Instant

MAX_PAGE = 200
_KNOWN = validate.OneOf([reason.value for reason in Reason])


class SuppressionIn(Schema):
    """What may be said about an address that must not be mailed."""

    reason = fields.String(
        load_default=None, validate=_KNOWN, metadata={"description": "Left out: manual, or the one that is there."}
    )


class SuppressionOut(Schema):
    """One address that must not be mailed."""

    email = fields.String(metadata={"example": "ada@example.com"})
    reason = fields.String(validate=_KNOWN)
    message_id = fields.UUID(allow_none=True, metadata={"description": "The message whose bounce caused it."})
    created_at = Instant()


class SuppressionFilterIn(Schema):
    """Which suppressions, and which page of them."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_PAGE))
    cursor = fields.String(load_default=None)
    reason = fields.String(load_default=None, validate=_KNOWN)
    created_after = Instant(load_default=None)
    created_before = Instant(load_default=None)


class SuppressionListOut(Schema):
    """A page of suppressions, newest first."""

    data = fields.List(fields.Nested(SuppressionOut))
    next_cursor = fields.String(allow_none=True)
