"""The shapes of audit events on the wire."""

from marshmallow import Schema, fields, validate

from email_service.web.fields import VISIBLE, Instant

MAX_PAGE = 200


class AuditEventOut(Schema):
    """One thing that somebody did."""

    id = fields.UUID()
    name = fields.String(metadata={"example": "suppression.added"})
    actor = fields.String(metadata={"description": "client:NAME, operator, worker or public."})
    client_id = fields.UUID(allow_none=True)
    subject = fields.String(metadata={"description": "What it was done to: an account, an address, a key."})
    ip = fields.String(allow_none=True)
    request_id = fields.String(allow_none=True)
    data = fields.Dict(keys=fields.String())
    occurred_at = Instant()


class AuditFilterIn(Schema):
    """Which events, and which page of them."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_PAGE))
    cursor = fields.String(load_default=None)
    name = fields.String(load_default=None, validate=VISIBLE)
    actor = fields.String(load_default=None, validate=VISIBLE)
    subject = fields.String(load_default=None, validate=VISIBLE)
    created_after = Instant(load_default=None)
    created_before = Instant(load_default=None)


class AuditListOut(Schema):
    """A page of audit events, newest first."""

    data = fields.List(fields.Nested(AuditEventOut))
    next_cursor = fields.String(allow_none=True)
