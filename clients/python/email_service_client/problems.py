"""What can go wrong with a call, as one small tree under EmailServiceError.

A refusal of the service is a ProblemError (RFC 9457); the codes that callers branch on have a class of their own. No
exception holds a key, a token or a body.
"""

from email_service_client.answers import Fault, Problem


class EmailServiceError(Exception):
    """Whatever this package raises about a call."""


class ConnectionFailed(EmailServiceError):
    """No answer. With `may_have_arrived` the service may have done what it was asked, and nobody heard."""

    def __init__(self, what: str, *, may_have_arrived: bool) -> None:
        super().__init__(what)
        self.may_have_arrived = may_have_arrived


class UnexpectedAnswer(EmailServiceError):
    """An answer that the service does not give: another program at this address, or a version that does not fit."""


class VerificationFailed(EmailServiceError):
    """What was presented as an access token or an assertion is not to be believed."""


class VerificationExpired(VerificationFailed):
    """It was signed by the service, and its time is over."""


class ProblemError(EmailServiceError):
    """The service refused. `code` is stable and the one to compare; codes that no class here is for have this one."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail} (request {problem.request_id})")
        self.problem = problem
        self.retry_after = retry_after  # seconds, where the service named any

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def errors(self) -> list[Fault]:
        return self.problem.errors

    @property
    def request_id(self) -> str:
        return self.problem.request_id

    @property
    def status(self) -> int:
        return self.problem.status


class InvalidInput(ProblemError):
    """Some values cannot be used; `errors` names each. The same call is refused again."""


class Unauthenticated(ProblemError):
    """The API key is missing or not valid."""


class ScopeMissing(ProblemError):
    """The key is valid, and its client may not do this."""


class NotFound(ProblemError):
    """There is no such thing, or not for this client."""


class Conflict(ProblemError):
    """It does not fit what the thing is now: its status, another account's address, a key that is in use."""


class RateLimited(ProblemError):
    """Too many calls; `retry_after` says in how many seconds there is a place again."""


class Unavailable(ProblemError):
    """The service, or what stands before it, cannot do this now."""


class TokenRefused(ProblemError):
    """A token, a code or a refresh token that cannot be redeemed, for whatever reason."""


class TokenInvalid(TokenRefused):
    """None that the service issued for this purpose, or a code that was tried too often."""


class TokenExpired(TokenRefused):
    """Its time is over."""


class TokenUsed(TokenRefused):
    """It was redeemed, revoked or replaced."""


CODES: dict[str, type[ProblemError]] = {
    "invalid_input": InvalidInput,
    "batch_refused": InvalidInput,
    "template_unknown": InvalidInput,
    "rendering_failed": InvalidInput,
    "idempotency_key_reused": InvalidInput,
    "unauthenticated": Unauthenticated,
    "scope_missing": ScopeMissing,
    "not_found": NotFound,
    "account_unknown": NotFound,
    "conflict": Conflict,
    "status_conflict": Conflict,
    "email_taken": Conflict,
    "account_disabled": Conflict,
    "idempotency_in_flight": Conflict,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
    "token_invalid": TokenInvalid,
    "token_expired": TokenExpired,
    "token_used": TokenUsed,
}
