"""What methods take: the members of bodies and the filters of lists. Times need a zone.

Made by `generate.py` from the description of the API; a change belongs there.
"""

from datetime import datetime
from typing import Any, NotRequired, TypedDict

from email_service_client.words import Lane, Purpose, Status, SuppressionReason


class AddressIn(TypedDict):
    email: str
    name: NotRequired[str]


class AttachmentIn(TypedDict):
    content: bytes
    content_type: str
    filename: str
    content_id: NotRequired[str | None]  # Shown in html as cid:...


class MessageIn(TypedDict):
    template: str
    to: str | AddressIn  # One address, or an object with email and name.
    attachments: NotRequired[list[AttachmentIn]]
    bcc: NotRequired[list[str | AddressIn]]
    cc: NotRequired[list[str | AddressIn]]
    client_reference: NotRequired[str | None]
    expires_at: NotRequired[datetime | None]
    force: NotRequired[bool]  # Send although the address is suppressed, where the operator allows it.
    from_: NotRequired[str | AddressIn | None]  # One address, or an object with email and name.
    headers: NotRequired[dict[str, str]]
    lane: NotRequired[Lane | None]
    locale: NotRequired[str | None]
    metadata: NotRequired[dict[str, str]]
    reply_to: NotRequired[str | AddressIn | None]  # One address, or an object with email and name.
    send_at: NotRequired[datetime | None]
    tags: NotRequired[list[str]]
    variables: NotRequired[dict[str, Any]]


class RescheduleIn(TypedDict):
    expires_at: NotRequired[datetime | None]
    send_at: NotRequired[datetime | None]  # Null, or a time that has passed: now.


class AccountIn(TypedDict):
    email: str
    disabled: NotRequired[bool]  # No token is issued for it, and those it has are revoked.
    email_verified: NotRequired[bool]
    locale: NotRequired[str | None]
    name: NotRequired[str]


class TokenIn(TypedDict):
    purpose: Purpose
    subject: str  # The account's id in the main app.
    context: NotRequired[dict[str, Any]]  # Told to whoever redeems the token.
    deliver: NotRequired[bool]  # False: no mail is sent, and the answer holds the token, the code or both.
    email: NotRequired[str | None]  # Left out: the address of the account.
    locale: NotRequired[str | None]
    ttl_seconds: NotRequired[int | None]
    variables: NotRequired[dict[str, Any]]  # For the purpose's template; the link, the code and the lifetime are added.


class SessionIn(TypedDict):
    subject: str  # The account's id in the main app.
    claims: NotRequired[dict[str, Any]]  # For each access token of the session, beside those that the service makes.
    ip: NotRequired[str | None]  # Of the person who signs in, to be shown in the list of sessions.
    user_agent: NotRequired[str | None]  # As `ip`; what exceeds 400 characters is cut off.


class MessageFilters(TypedDict):
    client_reference: NotRequired[str]
    created_after: NotRequired[datetime]
    created_before: NotRequired[datetime]
    recipient: NotRequired[str]
    status: NotRequired[Status]
    tag: NotRequired[str]
    template: NotRequired[str]


class SuppressionFilters(TypedDict):
    category: NotRequired[str]
    created_after: NotRequired[datetime]
    created_before: NotRequired[datetime]
    email: NotRequired[str]
    reason: NotRequired[SuppressionReason]


class AuditFilters(TypedDict):
    actor: NotRequired[str]
    created_after: NotRequired[datetime]
    created_before: NotRequired[datetime]
    name: NotRequired[str]
    subject: NotRequired[str]
