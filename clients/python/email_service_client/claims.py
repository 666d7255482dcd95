"""What the service signed, once that is certain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from email_service_client.words import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """Who is signed in. `claims` is all that was signed, with what the session was started with."""

    subject: str
    session_id: str
    id: str
    expires_at: datetime
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionClaims:
    """That somebody redeemed a token. `id` is the token's: accept each of them once."""

    purpose: Purpose
    subject: str
    email: str
    id: str
    expires_at: datetime
