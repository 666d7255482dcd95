"""What may be asked of the inbox and what it answers. Knows shapes and bounds, not where mails are kept."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, OneOf, Range

from email_service.inbox import service
from email_service.kernel.errors import Fault, InvalidInputError
from email_service.web.fields import Instant

LONGEST_WAIT_SECONDS = 30
VIEWS = ("html", "text", "source")


class _FilterIn(Schema):
    to = fields.String(load_default="", validate=Length(max=320))


class WaitIn(_FilterIn):
    """The query of `GET /inbox/messages`."""

    wait_seconds = fields.Float(load_default=0.0, validate=Range(min=0))


class PageIn(_FilterIn):
    """The query of the page and of its list."""

    mail = fields.UUID(load_default=None)
    view = fields.String(load_default=None, validate=OneOf(VIEWS))


class CapturedMailOut(Schema):
    """One captured mail, for end-to-end tests of the main app."""

    id = fields.UUID()
    to = fields.Function(lambda mail: mail.recipients[0])
    recipients = fields.List(fields.String())
    subject = fields.String()
    html = fields.String()
    text = fields.String()
    links = fields.Function(service.links_of)
    codes = fields.Function(service.codes_of)
    created_at = Instant()


def read_query(schema: Schema, arguments: Mapping[str, str]) -> dict[str, Any]:
    """The checked query, with an empty `to` as None; InvalidInputError points at each argument that is wrong."""
    try:
        query: dict[str, Any] = schema.load(arguments)
    except ValidationError as error:
        faults = [Fault(f"/{name}", " ".join(messages)) for name, messages in error.messages_dict.items()]
        raise InvalidInputError(faults=faults) from None
    query["to"] = query["to"].strip() or None
    return query
