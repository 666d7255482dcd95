"""Calls an email service: what is imported from here stays; the modules behind it may move."""

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
