"""Calls an email service. What is here stays, and so do the types in `answers`, `bodies` and `words`."""

from email_service_client.claims import AccessClaims, AssertionClaims
from email_service_client.problems import (
    Conflict,
    ConnectionFailed,
    EmailServiceError,
    InvalidInput,
    NotFound,
    ProblemError,
    RateLimited,
    ScopeMissing,
    TokenExpired,
    TokenInvalid,
    TokenRefused,
    TokenUsed,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    VerificationExpired,
    VerificationFailed,
)
from email_service_client.retries import Retries
from email_service_client.services import AsyncEmailService, EmailService

__all__ = [
    "AccessClaims",
    "AssertionClaims",
    "AsyncEmailService",
    "Conflict",
    "ConnectionFailed",
    "EmailService",
    "EmailServiceError",
    "InvalidInput",
    "NotFound",
    "ProblemError",
    "RateLimited",
    "Retries",
    "ScopeMissing",
    "TokenExpired",
    "TokenInvalid",
    "TokenRefused",
    "TokenUsed",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "VerificationExpired",
    "VerificationFailed",
]
