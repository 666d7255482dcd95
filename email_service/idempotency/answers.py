"""An answer that is given once for each Idempotency-Key and repeated when the same request comes again."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request
from sqlalchemy.orm import Session

from email_service.idempotency import service
from email_service.web import auth, context


def answer_once(key: str | None, status: HTTPStatus, act: Callable[[Session], Any]) -> Response:
    """Run `act` in the request's transaction and answer with the plain JSON it returns, or repeat the earlier one."""
    with context.transaction() as session:
        if key is None:
            answer, is_replayed = act(session), False
        else:
            scope = service.Scope(auth.caller().client_id, request.endpoint or "", key, request.get_json())
            answer, is_replayed = service.once(session, scope, lambda: act(session))
    response = jsonify(answer)
    response.status_code = status
    if is_replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
