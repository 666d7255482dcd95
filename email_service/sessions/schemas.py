"""The shapes of sessions, on the internal API and on the public one."""

import json
from ipaddress import ip_address
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from email_service.sessions.models import IP_LENGTH, USER_AGENT_LENGTH
from email_service.sessions.service import PAGE
from email_service.web.fields import SUBJECT, Instant

MAX_CLAIMS_BYTES = 4096
MAX_PAGE = 200
_TOKEN_CHARACTERS = 200  # more than any token has; what is longer is none


def _check_ip(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise ValidationError("has to be an IP address, such as 192.0.2.7 or 2001:db8::7") from None


def _check_claims(claims: dict[str, Any]) -> None:
    try:
        written = json.dumps(claims, allow_nan=False)
    except ValueError:
        raise ValidationError("holds a number that is too large") from None
    if len(written.encode()) > MAX_CLAIMS_BYTES:
        raise ValidationError(f"may have at most {MAX_CLAIMS_BYTES} bytes as JSON")


class SessionIn(Schema):
    """One session to start."""

    subject = fields.String(
        required=True, validate=SUBJECT, metadata={"description": "The account's id in the main app."}
    )
    claims = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        validate=_check_claims,
        metadata={"description": "For each access token of the session, beside those that the service makes."},
    )
    ip = fields.String(
        load_default=None,
        allow_none=True,
        validate=[validate.Length(max=IP_LENGTH), _check_ip],
        metadata={"description": "Of the person who signs in, to be shown in the list of sessions."},
    )
    user_agent = fields.String(
        load_default=None,
        allow_none=True,
        metadata={"description": f"As `ip`; what exceeds {USER_AGENT_LENGTH} characters is cut off."},
    )


class PairOut(Schema):
    """The tokens of a session (RFC 6749 5.1)."""

    access_token = fields.String(metadata={"description": "A JWT, signed with ES256."})
    refresh_token = fields.String(metadata={"description": "To be used once."})
    token_type = fields.Constant("Bearer")
    expires_in = fields.Integer(metadata={"description": "Seconds that the access token lives."})


class StartedOut(PairOut):
    """A new session with its first tokens."""

    session_id = fields.UUID()


class RefreshIn(Schema):
    """A refresh token as somebody presents it."""

    refresh_token = fields.String(required=True, validate=validate.Length(1, _TOKEN_CHARACTERS))


class NothingOut(Schema):
    """Nothing that would tell whether there was a session (RFC 7009 2.2)."""


class SubjectIn(Schema):
    """Whose sessions."""

    subject = fields.String(required=True, validate=SUBJECT)


class SessionFilterIn(SubjectIn):
    """Whose sessions, and which page of them."""

    limit = fields.Integer(load_default=PAGE, validate=validate.Range(1, MAX_PAGE))
    cursor = fields.String(load_default=None)


class SessionOut(Schema):
    """One session that can be refreshed."""

    id = fields.UUID()
    created_at = Instant()
    last_used_at = Instant(metadata={"description": "When it was started or refreshed last."})
    expires_at = Instant(metadata={"description": "When it ends, however often it is refreshed."})
    ip = fields.String(allow_none=True)
    user_agent = fields.String(allow_none=True)


class SessionListOut(Schema):
    """A page of sessions, newest first."""

    data = fields.List(fields.Nested(SessionOut))
    next_cursor = fields.String(allow_none=True)


class EndedOut(Schema):
    """How many were live."""

    revoked = fields.Integer()
