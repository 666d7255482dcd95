"""Who is calling the internal API, and whether they may. Everything on a protected blueprint needs a key."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from flask import g, request
from flask_smorest import Blueprint

from email_service.clients import service as clients
from email_service.clients.service import Caller
from email_service.kernel.errors import ScopeMissingError, UnauthenticatedError
from email_service.web import bodies, context, limits

_P = ParamSpec("_P")
_R = TypeVar("_R")


def protect(blueprint: Blueprint) -> Blueprint:
    """Let nobody reach the blueprint's views without a live API key and room in the client's quota."""
    blueprint.before_request(_admit)
    return blueprint


def requires(scope: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """The view is for callers who hold the scope; the OpenAPI description says so too."""

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(view)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if not caller().may(scope):
                raise ScopeMissingError(f"This call needs the scope {scope}, which your client does not hold.")
            return view(*args, **kwargs)

        documentation: dict[str, Any] = {
            "security": [{"ApiKey": []}],
            "description": f"Needs the scope `{scope}`.",
            "responses": {401: "UNAUTHORIZED", 403: "FORBIDDEN", 429: "TOO_MANY_REQUESTS"},
        }
        wrapper._apidoc = {**getattr(view, "_apidoc", {}), "manual_doc": documentation}  # type: ignore[attr-defined]  # noqa: SLF001 - how smorest is told
        return wrapper

    return decorate


def caller() -> Caller:
    """The client behind this request."""
    found: Caller = g.caller
    return found


def _admit() -> None:
    # The key first, then the quota, then the body: a stranger cannot make us parse anything.
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    try:
        # Apart from the request's transaction: a client that sends its body slowly must not hold locks all the while.
        with context.parts().glances() as session:
            g.caller = clients.authenticate(session, presented.strip() if scheme.lower() == "bearer" else "")
    except UnauthenticatedError:
        limits.count_stranger()
        raise
    structlog.contextvars.bind_contextvars(client=g.caller.name)
    limits.count_caller()
    bodies.read()
