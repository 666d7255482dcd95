"""The shapes of a batch on the wire: many messages as `schemas` knows them, each judged by itself."""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from email_service.extensions import ProblemOut
from email_service.kernel.errors import InvalidInputError
from email_service.messages import batch, schemas
from email_service.messages.service import Accepted
from email_service.messages.submission import Batch, Submission
from email_service.web import problems
from email_service.web.fields import Flag


class ItemsField(fields.List[Submission | InvalidInputError]):
    """Messages of which each is judged by itself: what is wrong with one of them leaves the others as they are."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Submission | InvalidInputError | None]:
        del attr, data, kwargs
        if not isinstance(value, list):
            raise self.make_error("invalid")
        # Before anything is read of them: too many is a reason not to.
        if not 1 <= len(value) <= batch.MAX_ITEMS:
            raise ValidationError(f"A batch has 1 to {batch.MAX_ITEMS} messages; this one has {len(value)}.")
        return [self._read(number, item) for number, item in enumerate(value)]

    def _read(self, number: int, item: Any) -> Submission | InvalidInputError:
        try:
            read: Submission = self.inner.deserialize(item)
        except ValidationError as error:
            return problems.refusal(error.messages, f"/messages/{number}")
        return read


class BatchIn(Schema):
    """Many messages in one request."""

    items = ItemsField(
        fields.Nested(schemas.MessageIn()),
        data_key="messages",
        required=True,
        metadata={"minItems": 1, "maxItems": batch.MAX_ITEMS},
    )
    is_atomic = Flag(
        data_key="atomic",
        load_default=False,
        metadata={"description": "Accept all messages or none."},
    )

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Batch:
        return Batch(**data)


class BatchItemOut(Schema):
    """What became of one message of a batch: one of the two."""

    message = fields.Nested(schemas.MessageOut, metadata={"is_optional": True})
    problem = fields.Nested(ProblemOut, metadata={"is_optional": True})


class BatchOut(Schema):
    """What became of each message of a batch, in the order in which they came."""

    data = fields.List(fields.Nested(BatchItemOut))


def tell_batch(outcomes: Iterable[Accepted | InvalidInputError]) -> dict[str, Any]:
    """What `BatchOut` says."""
    return {
        "data": [
            {"message": schemas.tell_accepted(each)} if isinstance(each, Accepted) else {"problem": problems.tell(each)}
            for each in outcomes
        ]
    }
