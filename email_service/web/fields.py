"""Marshmallow fields for what the API speaks of everywhere: instants, mailboxes, base64. They only judge the shape."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from email_service.kernel import addresses, subjects
from email_service.kernel.errors import InvalidInputError

# Patterns are published in OpenAPI, so they have to mean the same in Python and in ECMA 262: there `\Z` is a letter,
# and here `$` alone would let a last line break pass.
END = r"$(?!\n)"
LOCALE = validate.Regexp(
    r"^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?" + END, error="has to be a BCP 47 tag such as pt-BR"
)
VISIBLE = validate.Regexp(r"^[^\x00-\x1f\x7f-\x9f]*" + END, error="must not hold control characters")
SUBJECT = (validate.Length(1, subjects.LONGEST), validate.Regexp(subjects.PATTERN, error=VISIBLE.error))
# The same for a path, whose parts are described by hand; `kernel.subjects` checks them.
SUBJECT_STEP = {
    "in": "path",
    "name": "subject",
    "schema": {"type": "string", "minLength": 1, "maxLength": subjects.LONGEST, "pattern": subjects.PATTERN},
}


class Instant(fields.AwareDateTime):
    """A time with its zone (RFC 3339); written in UTC with a Z."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)
        self.error_messages["invalid"] = "has to be a time such as 2026-11-21T09:30:00Z"
        self.error_messages["invalid_awareness"] = "has to say its zone, such as 2026-11-21T09:30:00Z"

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        del attr, obj, kwargs
        return write_instant(value)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        found = super()._deserialize(value, attr, data, **kwargs)
        assert isinstance(found, datetime)
        try:
            return found.astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type="datetime") from None


class MailboxField(fields.Field[dict[str, str]]):
    """One recipient: a bare address, or an object with `email` and `name`. A list is refused (T15)."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return value

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        del attr, data, kwargs
        if isinstance(value, str):
            return {"email": _checked("email", addresses.parse, value, is_whole=True).email, "name": ""}
        if not isinstance(value, dict):
            raise ValidationError('has to be one address, or an object such as {"email": "ada@example.com"}')
        _refuse_other_members(value)
        email, name = value.get("email"), value.get("name")
        if not isinstance(email, str) or not isinstance(name, str | None):
            wrong = "name" if isinstance(email, str) else "email"
            raise ValidationError({wrong: [f"is {'required' if wrong not in value else 'not a string'}"]})
        return {
            "email": _checked("email", addresses.parse, email).email,
            "name": _checked("name", addresses.display_name, name or ""),
        }


class EmailField(fields.String):
    """One bare address, read as `kernel.addresses.parse` does."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        email: str = _checked("email", addresses.parse, text, is_whole=True).email
        return email


class DisplayName(fields.String):
    """A name that is shown with an address; it holds neither control characters nor an address of its own."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        name: str = _checked("name", addresses.display_name, text, is_whole=True)
        return name


class Flag(fields.Boolean):
    """True or false; marshmallow's own takes 0 and 1 for them, and words."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        del attr, data, kwargs
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Base64Text(fields.String):
    """Bytes in standard base64 (RFC 4648 4), kept as the text they came in."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValidationError("has to be standard base64 with padding and without line breaks") from None
        return text


def write_instant(value: datetime | None) -> str | None:
    """A time as every answer writes it."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decoded_length(text: str) -> int:
    """How many bytes valid base64 text stands for."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def _checked(member: str, check: Any, value: str, *, is_whole: bool = False) -> Any:
    try:
        return check(value)
    except InvalidInputError as error:
        raise ValidationError(error.detail if is_whole else {member: [error.detail]}) from None


def _refuse_other_members(value: dict[str, Any]) -> None:
    if others := sorted(map(str, value.keys() - {"email", "name"})):
        reason = ["is not a member of a mailbox; known are email and name"]
        raise ValidationError(dict.fromkeys((other[:100] for other in others), reason))
