"""Every error as `application/problem+json` (RFC 9457), with a stable code, JSON pointers and the request id.

Knows how foreign exceptions (Werkzeug, webargs, gunicorn, SQLAlchemy) map to our own; invents no
sentence of its own where `kernel/errors` has one.
"""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from flask import Flask, Response, g, request
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from email_service.kernel.errors import (
    BadRequestError,
    BodyTooLargeError,
    Fault,
    InvalidInputError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    UnavailableError,
    UnsupportedMediaTypeError,
)

_log = structlog.get_logger(__name__)
_STEP_CHARACTERS = 100  # of a pointer; a caller may invent a name as long as a body
_OURS: dict[int, type[ServiceError]] = {
    error.status: error
    for error in (BadRequestError, NotFoundError, BodyTooLargeError, UnsupportedMediaTypeError, RateLimitedError)
}


def install(app: Flask) -> None:
    """Answer every error of the application as a problem."""
    app.register_error_handler(ServiceError, answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(OperationalError, _answer_database)
    app.register_error_handler(InterfaceError, _answer_database)
    app.register_error_handler(PoolTimeoutError, _answer_database)
    # Between a connection's way out of the pool and its first statement, nobody wraps the driver's errors.
    app.register_error_handler(psycopg.OperationalError, _answer_database)
    app.register_error_handler(ParseException, _answer_chunks)
    app.register_error_handler(Exception, _answer_unexpected)


def answer(error: ServiceError) -> Response:
    """One of our own errors as an HTTP answer."""
    response = Response(json.dumps(tell(error)), status=error.status, mimetype="application/problem+json")
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def tell(error: ServiceError) -> dict[str, Any]:
    """The members of the problem that one of our own errors is."""
    faults = [{"pointer": fault.pointer, "message": fault.message} for fault in error.faults]
    more = {**({"errors": faults} if faults else {}), **error.members}
    return _members(error.status, error.code, error.title, error.detail, request_id=g.get("request_id", ""), **more)


def _answer_http(error: HTTPException) -> Response:
    if error.code == HTTPStatus.UNPROCESSABLE_ENTITY:
        return answer(_invalid_input(getattr(error, "data", None) or {}))
    if ours := _OURS.get(error.code or 0):
        return answer(ours())
    status = HTTPStatus(error.code or 500)
    detail, allowed = error.description or status.description, ""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        detail = f"{request.method} is not possible here; possible: {allowed}."
    response = _build(status, status.name.lower(), status.phrase, detail)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = allowed
    if redirect := getattr(error, "new_url", None):
        response.headers["Location"] = redirect
    return response


def _answer_chunks(_error: ParseException) -> Response:
    return answer(BadRequestError("The body's chunks cannot be read (RFC 9112 7.1)."))


def _answer_database(error: Exception) -> Response:
    _log.error("database.unavailable", error=type(error).__name__)
    return answer(UnavailableError(retry_after_seconds=2))


# The edge of the program: whatever nobody foresaw becomes a 500 that names the request and tells nothing else.
def _answer_unexpected(error: Exception) -> Response:
    _log.error("request.failed", path=request.path, method=request.method, exc_info=error)
    return answer(ServiceError())


def document(status: int, code: str, title: str, detail: str, **more: Any) -> str:
    """The JSON of a problem; `more` is at least the `request_id`."""
    return json.dumps(_members(status, code, title, detail, **more))


def _members(status: int, code: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    problem = {"type": f"urn:problem:{code}", "title": title, "status": int(status), "detail": detail, "code": code}
    return {**problem, **more}


def _build(status: int, code: str, title: str, detail: str, **more: Any) -> Response:
    content = document(status, code, title, detail, request_id=g.get("request_id", ""), **more)
    return Response(content, status=int(status), mimetype="application/problem+json")


def _invalid_input(data: Mapping[str, Any]) -> InvalidInputError:
    messages = data.get("messages") or {}
    # webargs puts the place first (json, query); query parameters are named without it.
    places = messages.items() if isinstance(messages, dict) else [("json", messages)]
    return refusal([found for _, found in places])


def refusal(messages: Any, pointer: str = "") -> InvalidInputError:
    """What marshmallow found wrong with the value at `pointer`."""
    faults = list(_faults(messages, pointer))
    detail = "; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults[:3])
    return InvalidInputError(detail or None, faults=faults)


def _faults(messages: Any, pointer: str) -> Iterator[Fault]:
    if isinstance(messages, dict):
        for name, found in messages.items():
            step = str(name)[:_STEP_CHARACTERS].replace("~", "~0").replace("/", "~1")
            yield from _faults(found, pointer if name == "_schema" else f"{pointer}/{step}")
    elif isinstance(messages, list):
        for found in messages:
            yield from _faults(found, pointer)
    else:
        yield Fault(pointer, str(messages))
