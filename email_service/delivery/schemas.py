"""The shape of an explanation on the wire. A server's words are hostile text and are only ever JSON."""

from marshmallow import Schema, fields, validate

from email_service.delivery.explanation import Reason
from email_service.messages.schemas import AttemptOut
from email_service.messages.state import Status
from email_service.suppressions.schemas import SuppressionOut
from email_service.web.fields import Instant


class BreakerOut(Schema):
    """A mail server that is out of order."""

    route = fields.String()
    reason = fields.String(metadata={"description": "What it, or the network, said last."})
    failure_count = fields.Integer()
    tripped_at = Instant()
    open_until = Instant(metadata={"description": "From then on one message at a time tries it."})


class LastAttemptOut(AttemptOut):
    """The last try to deliver the message."""

    class Meta:
        """Of an attempt, what explains it."""

        fields = ("transport", "phase", "code", "enhanced_code", "reply", "finished_at")


class CauseOut(SuppressionOut):
    """The suppression that stopped the message."""

    class Meta:
        """All but the address, which the caller knows."""

        fields = ("reason", "category", "created_at", "message_id")


class EvidenceOut(Schema):
    """What shows the reason; null where there is nothing of the kind."""

    attempt = fields.Nested(LastAttemptOut, allow_none=True)
    suppression = fields.Nested(CauseOut, allow_none=True)
    breaker = fields.Nested(BreakerOut, allow_none=True)


class ExplanationOut(Schema):
    """Why a message has not arrived."""

    status = fields.String(validate=validate.OneOf([status.value for status in Status]))
    reason = fields.String(validate=validate.OneOf([reason.value for reason in Reason]))
    detail = fields.String(metadata={"description": "One sentence for people; its words may change."})
    next_attempt_at = Instant(allow_none=True)
    evidence = fields.Nested(EvidenceOut)
