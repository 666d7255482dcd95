"""What a call that did not succeed came to, as an exception. Believes a problem document and nothing else."""

import json
from http import HTTPStatus
from typing import Any

from email_service_client.answers import Problem
from email_service_client.decoding import decode
from email_service_client.exchange import Lost, Outcome, Reply
from email_service_client.problems import CODES, ConnectionFailed, EmailServiceError, ProblemError, UnexpectedAnswer

# What proxies before the service say in words of their own.
_OF_PROXIES: dict[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.BAD_GATEWAY: "unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "unavailable",
}


def failure(call: str, outcome: Outcome) -> EmailServiceError:
    """The exception for what came back from this call."""
    if isinstance(outcome, Lost):
        return ConnectionFailed(f"{call}: {outcome.reason}", may_have_arrived=outcome.may_have_arrived)
    problem = _problem(outcome)
    if problem is None:
        return UnexpectedAnswer(f"{call}: {outcome.status} without a problem document; is the service at this address?")
    return CODES.get(problem.code, ProblemError)(problem, outcome.retry_after)


def _problem(reply: Reply) -> Problem | None:
    try:
        return decode(Problem, _document(reply))
    except (ValueError, RecursionError):
        code = _OF_PROXIES.get(reply.status)
    if code is None:
        return None
    status = HTTPStatus(reply.status)
    return Problem(
        code=code,
        detail="Something before the service answered, not the service.",
        request_id=reply.headers.get("X-Request-ID", ""),
        status=status,
        title=status.phrase,
        type="about:blank",
    )


def _document(reply: Reply) -> Any:
    media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type != "application/problem+json":
        raise ValueError("no problem document")
    return json.loads(reply.content)
