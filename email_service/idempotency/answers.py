"""An answer that is given once for each Idempotency-Key and repeated when the same request comes again."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request
from sqlalchemy.orm import Session

from email_service.idempotency import service
from email_service.idempotency.service import Scope
from email_service.web import auth, context


def answer_once(
    key: str | None,
    status: HTTPStatus,
    act: Callable[[Session], Any],
    complete: Callable[[Session, Any], Any] | None = None,
) -> Response:
    """Run `act` in the request's transaction and answer with the plain JSON it returns, or repeat the earlier one.

    `complete` adds to either what must not be recorded.
    """
    with context.transaction() as session:
        scope = scope_of(key)
        answer, is_replayed = service.once(session, scope, lambda: act(session)) if scope else (act(session), False)
        answer = complete(session, answer) if complete else answer
    return respond(answer, status, is_replayed=is_replayed)


def scope_of(key: str | None) -> Scope | None:
    """What makes the present request the same as an earlier one; None when its caller does not care."""
    return None if key is None else Scope(auth.caller().client_id, request.endpoint or "", key, request.get_json())


def respond(answer: Any, status: HTTPStatus, *, is_replayed: bool = False) -> Response:
    """The answer as JSON, marked if it was given before."""
    response: Response = jsonify(answer)
    response.status_code = status
    return mark(response) if is_replayed else response


def mark(response: Response) -> Response:
    """The same answer, marked as one that was given before."""
    response.headers["Idempotent-Replayed"] = "true"
    return response
