"""What the service answers. What it tells beyond this is left out, so that a newer one can be used.

Made by `generate.py` from the description of the API; a change belongs there.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from email_service_client.words import Lane, Purpose, Reason, Status, SuppressionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    email: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    created_at: datetime
    disabled: bool
    email: str
    email_verified: bool
    locale: str | None
    name: str
    subject: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    # A JWT of five minutes, for the keys of /.well-known/jwks.json; its `jti` is the token's id.
    assertion: str = field(repr=False)
    email: str
    purpose: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    code: int | None  # The SMTP reply code, if there was a reply.
    enhanced_code: str | None  # RFC 3463, such as 5.1.1.
    finished_at: datetime
    outcome: str
    phase: str  # The furthest phase of the SMTP dialogue that was entered.
    refused: dict[str, str]
    reply: str  # The server's words, shortened.
    started_at: datetime
    transport: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    id: str
    actor: str  # client:NAME, operator, worker or public.
    client_id: str | None
    data: dict[str, Any]
    ip: str | None
    name: str
    occurred_at: datetime
    request_id: str | None
    subject: str  # What it was done to: an account, an address, a key.


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    id: str
    client_reference: str | None
    created_at: datetime
    expires_at: datetime | None
    lane: Lane
    message_id_header: str
    metadata: dict[str, str]
    send_at: datetime | None
    status: Status
    tags: list[str]
    template: str
    template_version: str
    to: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    message: str
    pointer: str  # A JSON pointer (RFC 6901) into the body, or /name of a parameter.


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    code: str  # Stable; the one to compare.
    detail: str
    errors: list[Fault] = field(default_factory=list)
    request_id: str
    status: int
    title: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    message: Message | None = field(default=None)
    problem: Problem | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    data: list[BatchItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    failure_count: int
    open_until: datetime  # From then on one message at a time tries it.
    reason: str  # What it, or the network, said last.
    route: str
    tripped_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    category: str  # Of which mail; * is all.
    created_at: datetime
    message_id: str | None  # The message whose bounce caused it.
    reason: SuppressionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    revoked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    erased: dict[str, int]  # How many rows, by what they were.
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    id: str
    data: dict[str, Any]
    name: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    code: int | None  # The SMTP reply code, if there was a reply.
    enhanced_code: str | None  # RFC 3463, such as 5.1.1.
    finished_at: datetime
    phase: str  # The furthest phase of the SMTP dialogue that was entered.
    reply: str  # The server's words, shortened.
    transport: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    attempt: LastAttempt | None
    breaker: Breaker | None
    suppression: Cause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    detail: str  # One sentence for people; its words may change.
    evidence: Evidence
    next_attempt_at: datetime | None
    reason: Reason
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDetail:
    id: str
    attempts: list[Attempt]
    client_reference: str | None
    created_at: datetime
    expires_at: datetime | None
    finished_at: datetime | None
    lane: Lane
    locale: str | None
    message_id_header: str
    metadata: dict[str, str]
    next_attempt_at: datetime | None
    send_at: datetime | None
    status: Status
    tags: list[str]
    template: str
    template_version: str
    to: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    access_token: str = field(repr=False)  # A JWT, signed with ES256.
    expires_in: int  # Seconds that the access token lives.
    refresh_token: str = field(repr=False)  # To be used once.
    token_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    message: str
    rate_limited: bool
    token_expires_in_hours: int  # Rounded up.


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    context: dict[str, Any]
    email: str
    issued_at: datetime
    purpose: Purpose
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    html: str
    subject: str
    text: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    revoked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    id: str
    created_at: datetime
    expires_at: datetime  # When it ends, however often it is refreshed.
    ip: str | None
    last_used_at: datetime  # When it was started or refreshed last.
    user_agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedSession:
    access_token: str = field(repr=False)  # A JWT, signed with ES256.
    expires_in: int  # Seconds that the access token lives.
    refresh_token: str = field(repr=False)  # To be used once.
    session_id: str
    token_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    category: str  # Of which mail; * is all.
    created_at: datetime
    email: str
    message_id: str | None  # The message whose bounce caused it.
    reason: SuppressionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    category: str
    description: str
    lane: str
    locales: list[str]
    name: str
    sample_variables: dict[str, Any]
    unsubscribe: bool  # Whether readers can unsubscribe from the category.
    variables_schema: dict[str, Any]  # JSON Schema 2020-12.
    version: str  # A hash of everything that the mail is made from.


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued:
    id: str
    code: str | None = field(default=None, repr=False)  # Only with deliver: false, for purposes that have a code.
    expires_at: datetime
    message_id: str | None  # The message that carries it.
    purpose: Purpose
    subject: str
    token: str | None = field(default=None, repr=False)  # Only with deliver: false.


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    context: dict[str, Any]
    email: str
    expires_at: datetime
    issued_at: datetime
    purpose: Purpose
    subject: str
    valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidToken:
    expires_at: datetime
    purpose: str
    valid: bool
