"""The shapes of messages on the wire: what `POST /v1/messages` takes and what every answer about a message holds."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate, validates_schema

from email_service.kernel import headers
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.lanes import LANES
from email_service.messages.service import Accepted
from email_service.messages.state import Status
from email_service.messages.submission import Submission
from email_service.web.fields import (
    END,
    LOCALE,
    VISIBLE,
    Base64Text,
    Flag,
    Instant,
    MailboxField,
    decoded_length,
    write_instant,
)

MAX_COPIES = 50
MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
MAX_PAGE = 200
_FILENAME = validate.Regexp(r"^[^\x00-\x1f\x7f/\\]+" + END, error="must not hold slashes or control characters")
_DESCRIBED_AS_MAILBOX: dict[str, Any] = {
    "type": ["string", "object"],
    "description": "One address, or an object with email and name.",
    "properties": {"email": {"type": "string"}, "name": {"type": ["string", "null"]}},
    "required": ["email"],
    "additionalProperties": False,
    "example": {"email": "ada@example.com", "name": "Ada"},
}


def _mailbox(**kwargs: Any) -> MailboxField:
    return MailboxField(metadata=_DESCRIBED_AS_MAILBOX, **kwargs)


class AttachmentIn(Schema):
    """One file to go with the message."""

    filename = fields.String(required=True, validate=[validate.Length(1, 255), _FILENAME])
    content_type = fields.String(required=True)
    content = Base64Text(required=True, metadata={"format": "byte"})
    content_id = fields.String(load_default=None, allow_none=True, metadata={"description": "Shown in html as cid:..."})

    @validates_schema
    def _check_header_values(self, data: dict[str, Any], **_: Any) -> None:
        for name, check in (("content_type", headers.check_media_type), ("content_id", headers.check_content_id)):
            if data.get(name) is not None:
                _as_fault(name, check, name, data[name])


class MessageIn(Schema):
    """One message to send."""

    template = fields.String(required=True, validate=validate.Length(1, 100), metadata={"example": "welcome"})
    to = _mailbox(required=True)
    variables = fields.Dict(keys=fields.String(), load_default=dict, metadata={"example": {"name": "Ada"}})
    locale = fields.String(load_default=None, allow_none=True, validate=LOCALE)
    cc = fields.List(_mailbox(), load_default=list)
    bcc = fields.List(_mailbox(), load_default=list)
    reply_to = _mailbox(load_default=None, allow_none=True)
    sender = _mailbox(data_key="from", load_default=None, allow_none=True)
    lane = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(LANES))
    send_at = Instant(load_default=None, allow_none=True)
    expires_at = Instant(load_default=None, allow_none=True)
    tags = fields.List(
        fields.String(validate=[validate.Length(1, 50), VISIBLE]), load_default=list, validate=validate.Length(max=10)
    )
    metadata = fields.Dict(
        keys=fields.String(validate=[validate.Length(1, 50), VISIBLE]),
        values=fields.String(validate=validate.Length(max=500)),
        load_default=dict,
        validate=validate.Length(max=20),
    )
    client_reference = fields.String(load_default=None, allow_none=True, validate=[validate.Length(1, 255), VISIBLE])
    headers = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)
    attachments = fields.List(fields.Nested(AttachmentIn), load_default=list, validate=validate.Length(max=50))
    is_forced = Flag(
        data_key="force",
        load_default=False,
        metadata={"description": "Send although the address is suppressed, where the operator allows it."},
    )

    @validates_schema
    def _check_whole(self, data: dict[str, Any], **_: Any) -> None:
        if len(data["cc"]) + len(data["bcc"]) > MAX_COPIES:
            raise ValidationError(f"cc and bcc together hold at most {MAX_COPIES} addresses", "cc")
        if sum(decoded_length(each["content"]) for each in data["attachments"]) > MAX_ATTACHMENT_BYTES:
            raise ValidationError("all attachments together may have at most 10 MB (10,485,760 bytes)", "attachments")
        _as_fault("headers", headers.check_headers, data["headers"])

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Submission:
        sequences: dict[str, Any] = {name: tuple(data.pop(name)) for name in ("cc", "bcc", "tags", "attachments")}
        return Submission(**data, **sequences)


class RescheduleIn(Schema):
    """Other times for a message that waits; null clears one, and what is left out stays."""

    send_at = Instant(allow_none=True, metadata={"description": "Null, or a time that has passed: now."})
    expires_at = Instant(allow_none=True)

    @validates_schema
    def _check_whole(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("Give send_at, expires_at or both.")


class MessageOut(Schema):
    """What is said of a message when it is accepted, and in lists."""

    id = fields.UUID()
    status = fields.String(validate=validate.OneOf([status.value for status in Status]))
    template = fields.String()
    template_version = fields.String()
    to = fields.Function(
        lambda message: {"email": message.recipient_email, "name": message.recipient_name},
        metadata={"type": "object", "properties": {"email": {"type": "string"}, "name": {"type": "string"}}},
    )
    lane = fields.String(validate=validate.OneOf(LANES))
    created_at = Instant()
    send_at = Instant(allow_none=True)
    expires_at = Instant(allow_none=True)
    client_reference = fields.String(allow_none=True)
    tags = fields.List(fields.String())
    metadata = fields.Dict(attribute="metadata_", keys=fields.String(), values=fields.String())
    message_id_header = fields.String()


def tell_accepted(message: Accepted) -> dict[str, Any]:
    """What `MessageOut` says of a message that was just accepted, without what marshmallow costs for each field."""
    row = message.row
    return {
        "id": str(message.id),
        "status": message.status.value,
        "template": row["template"],
        "template_version": row["template_version"],
        "to": {"email": row["recipient_email"], "name": row["recipient_name"]},
        "lane": message.lane,
        "created_at": write_instant(row["created_at"]),
        "send_at": write_instant(row["send_at"]),
        "expires_at": write_instant(row["expires_at"]),
        "client_reference": row["client_reference"],
        "tags": list(row["tags"]),
        "metadata": dict(row["metadata"]),
        "message_id_header": row["message_id_header"],
    }


class AttemptOut(Schema):
    """One try to deliver a message."""

    transport = fields.String()
    started_at = Instant()
    finished_at = Instant()
    outcome = fields.String()
    phase = fields.String(metadata={"description": "The furthest phase of the SMTP dialogue that was entered."})
    code = fields.Integer(allow_none=True, metadata={"description": "The SMTP reply code, if there was a reply."})
    enhanced_code = fields.String(allow_none=True, metadata={"description": "RFC 3463, such as 5.1.1."})
    reply = fields.String(metadata={"description": "The server's words, shortened."})
    refused = fields.Dict(keys=fields.String(), values=fields.String())


class MessageDetailOut(MessageOut):
    """Everything that is said of one message."""

    locale = fields.String(allow_none=True)
    attempts = fields.List(fields.Nested(AttemptOut))
    next_attempt_at = Instant(attribute="due_at", allow_none=True)
    finished_at = Instant(allow_none=True)


class EventOut(Schema):
    """One fact about a message."""

    id = fields.UUID()
    name = fields.String(metadata={"example": "message.sent"})
    occurred_at = Instant()
    data = fields.Dict()


class PageIn(Schema):
    """Which page of a list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_PAGE))
    cursor = fields.String(load_default=None)


class MessageFilterIn(PageIn):
    """Which messages."""

    status = fields.String(load_default=None, validate=validate.OneOf([status.value for status in Status]))
    template = fields.String(load_default=None, validate=VISIBLE)
    recipient = fields.String(load_default=None)
    tag = fields.String(load_default=None, validate=VISIBLE)
    client_reference = fields.String(load_default=None, validate=VISIBLE)
    created_after = Instant(load_default=None)
    created_before = Instant(load_default=None)


class MessageListOut(Schema):
    """A page of messages, newest first."""

    data = fields.List(fields.Nested(MessageOut))
    next_cursor = fields.String(allow_none=True)


class EventListOut(Schema):
    """A page of events, oldest first."""

    data = fields.List(fields.Nested(EventOut))
    next_cursor = fields.String(allow_none=True)


class IdempotencyHeaderIn(Schema):
    """The header that makes a repeated request safe."""

    class Meta:
        """Other headers are other people's business."""

        unknown = EXCLUDE

    key = fields.String(
        data_key="Idempotency-Key",
        load_default=None,
        validate=validate.Regexp(r"^[\x20-\x7e]{1,255}" + END, error="has to be 1 to 255 printable ASCII characters"),
    )


def _as_fault(member: str, check: Any, *arguments: Any) -> None:
    try:
        check(*arguments)
    except InvalidInputError as error:
        # A pointer below this member (`/headers/X-A`) becomes nested messages, which is how marshmallow says it.
        steps = [step for fault in error.faults[:1] for step in fault.pointer.split("/")[2:]]
        steps = [step.replace("~1", "/").replace("~0", "~") for step in steps]
        messages: Any = [error.detail]
        for step in reversed(steps):
            messages = {step: messages}
        raise ValidationError({member: messages}) from None
