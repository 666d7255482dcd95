"""Every error a caller can meet, as one small tree.

The docstring of each class is the sentence that its user reads when the raiser has nothing more exact to say; `code` is
the stable name that programs compare. How an error becomes an HTTP answer is `web/problems`' business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the input: where (a JSON pointer, RFC 6901) and what to change."""

    pointer: str
    message: str


class ServiceError(Exception):
    """Something went wrong on our side. Try again; if it persists, report the request id."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        faults: Sequence[Fault] = (),
        retry_after_seconds: int | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        self.detail = detail or cleandoc(self.__doc__ or "")
        self.faults = tuple(faults)
        self.retry_after_seconds = retry_after_seconds
        self.members = dict(members or {})  # what the answer says besides (RFC 9457 3.2)
        super().__init__(self.detail)


class InvalidInputError(ServiceError):
    """The request was understood, but some of its values cannot be used; `errors` names each one."""

    status = 422
    code = "invalid_input"
    title = "Invalid input"

    @classmethod
    def at(cls, pointer: str, message: str) -> "InvalidInputError":
        """The error for exactly one wrong value."""
        return cls(message, faults=[Fault(pointer, message)])


class MalformedBodyError(ServiceError):
    """The body is not valid JSON. Send one JSON object, encoded as UTF-8."""

    status = 400
    code = "malformed_body"
    title = "Malformed body"


class BadRequestError(ServiceError):
    """The request cannot be processed as it was sent."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class TokenInvalidError(BadRequestError):
    """The token or code is not one that this service issued for this purpose. Ask for a new one."""

    code = "token_invalid"
    title = "Token invalid"


class TokenExpiredError(BadRequestError):
    """The token has expired. Ask for a new one."""

    code = "token_expired"
    title = "Token expired"


class TokenUsedError(BadRequestError):
    """The token was used already, or a newer one took its place. Ask for a new one."""

    code = "token_used"
    title = "Token used"


class UnauthenticatedError(ServiceError):
    """No valid API key was given. Send `Authorization: Bearer <api key>`; `email-service client create` makes one."""

    status = 401
    code = "unauthenticated"
    title = "Unauthenticated"


class ScopeMissingError(ServiceError):
    """The API key is valid, but its client does not hold the scope that this call needs."""

    status = 403
    code = "scope_missing"
    title = "Scope missing"


class NotFoundError(ServiceError):
    """There is nothing at this address, or not for this client."""

    status = 404
    code = "not_found"
    title = "Not found"


class AccountUnknownError(NotFoundError):
    """No account has this subject; tell the service of it (`PUT /v1/accounts/{subject}`), or give an email."""

    code = "account_unknown"
    title = "Account unknown"


class BatchRefusedError(InvalidInputError):
    """Some of the messages cannot be accepted, so none was (`atomic`); `errors` names what to change in each."""

    code = "batch_refused"
    title = "Batch refused"


class TemplateUnknownError(InvalidInputError):
    """No template has this name; `GET /v1/templates` lists those that exist."""

    code = "template_unknown"
    title = "Template unknown"


class ConflictError(ServiceError):
    """What was asked for does not fit the present state of the resource."""

    status = 409
    code = "conflict"
    title = "Conflict"


class StatusConflictError(ConflictError):
    """The message's status does not allow this any more."""

    code = "status_conflict"
    title = "Status conflict"


class EmailTakenError(ConflictError):
    """Another account has this email address; change or delete that one first."""

    code = "email_taken"
    title = "Email taken"


class AccountDisabledError(ConflictError):
    """The account is disabled, so no token is issued for it; enable it first (`PUT /v1/accounts/{subject}`)."""

    code = "account_disabled"
    title = "Account disabled"


class IdempotencyInFlightError(ConflictError):
    """A request with this Idempotency-Key is still being processed. Send it again after the time in Retry-After."""

    code = "idempotency_in_flight"
    title = "Idempotency key in flight"


class IdempotencyKeyReusedError(InvalidInputError):
    """The Idempotency-Key was already used with another body. Use a new key for a new request."""

    code = "idempotency_key_reused"
    title = "Idempotency key reused"


class BodyTooLargeError(ServiceError):
    """The body is larger than this service accepts (`MAX_BODY_BYTES`)."""

    status = 413
    code = "body_too_large"
    title = "Body too large"


class UnsupportedMediaTypeError(ServiceError):
    """The body has to be JSON. Send `Content-Type: application/json`."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class RateLimitedError(ServiceError):
    """Too many requests. Wait for the time in Retry-After."""

    status = 429
    code = "rate_limited"
    title = "Rate limited"


class UnavailableError(ServiceError):
    """The service cannot do this right now, and nothing was recorded. Try again shortly."""

    status = 503
    code = "unavailable"
    title = "Unavailable"


class FiguresApartError(ServiceError):
    """Several processes serve here, and each counts for itself. Start them with `email-service run --workers`."""

    status = 501
    code = "figures_apart"
    title = "Figures apart"


class RenderingError(ServiceError):
    """The template cannot be rendered with these variables."""

    status = 422
    code = "rendering_failed"
    title = "Rendering failed"


class SettingsError(ServiceError):
    """The environment does not describe a service that can start; every mistake is listed, each with its variable."""

    code = "settings_invalid"
    title = "Settings invalid"


class SealBrokenError(ServiceError):
    """A sealed value cannot be opened: it was altered, or SECRET_KEY changed without SECRET_KEY_FALLBACKS."""

    code = "seal_broken"
    title = "Seal broken"
