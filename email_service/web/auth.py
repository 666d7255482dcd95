"""Who is calling the internal API, and whether they may. Everything on a protected blueprint needs a key."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from flask import current_app, g, request
from flask_smorest import Blueprint

from email_service.clients import service as clients
from email_service.clients.service import Caller
from email_service.kernel.errors import ScopeMissingError, UnauthenticatedError
from email_service.web import bodies, context, limits

_CHECKS_KEY_ITSELF = "_checks_key_itself"
_P = ParamSpec("_P")
_R = TypeVar("_R")


def protect(blueprint: Blueprint) -> Blueprint:
    """Let nobody reach the blueprint's views without a live API key and room in the client's quota."""
    blueprint.before_request(_admit)
    return blueprint


def requires(scope: str, *, checks_key_itself: bool = False) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """The view is for callers who hold the scope; the OpenAPI description says so too.

    A view that `checks_key_itself` asks whether the caller's key is still live in its own first statement and says so
    with `note_live_key`; it may be reached with a key that was live a minute ago.
    """

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(view)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                if not caller().may(scope):
                    raise ScopeMissingError(f"This call needs the scope {scope}, which your client does not hold.")
                return view(*args, **kwargs)
            finally:
                # Whatever the answer is, nobody gets it with a key that has been revoked.
                make_sure()

        documentation: dict[str, Any] = {
            "security": [{"ApiKey": []}],
            "description": f"Needs the scope `{scope}`.",
            "responses": {401: "UNAUTHORIZED", 403: "FORBIDDEN", 429: "TOO_MANY_REQUESTS"},
        }
        wrapper._apidoc = {**getattr(view, "_apidoc", {}), "manual_doc": documentation}  # type: ignore[attr-defined]  # noqa: SLF001 - how smorest is told
        if checks_key_itself:
            setattr(wrapper, _CHECKS_KEY_ITSELF, True)
        return wrapper

    return decorate


def caller() -> Caller:
    """The client behind this request."""
    found: Caller = g.caller
    return found


def make_sure() -> None:
    """UnauthenticatedError unless the key was seen, during this request, to be live."""
    if g.is_key_live:
        return
    with context.look() as connection:
        g.is_key_live = clients.is_live(connection, g.caller.key_id)
    if not g.is_key_live:
        context.parts().keyring.forget(g.presented_key)
        limits.count_stranger()
        raise UnauthenticatedError


def note_live_key() -> None:
    """The caller's key was just seen to be live."""
    g.is_key_live = True


def _admit() -> None:
    # The key first, then the quota, then the body: a stranger cannot make us parse anything.
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    presented = presented.strip() if scheme.lower() == "bearer" else ""
    known = context.parts().keyring.recall(presented)
    g.is_key_live, g.presented_key = known is None, presented
    g.caller = known or _authenticate(presented)
    # Flask answers OPTIONS by itself, so no view would check anything.
    if request.method == "OPTIONS" or not hasattr(_view(), _CHECKS_KEY_ITSELF):
        make_sure()
    structlog.contextvars.bind_contextvars(client=g.caller.name)
    with ExitStack() as refusal:
        refusal.callback(make_sure)
        limits.count_caller()
        bodies.read()
        refusal.pop_all()


def _view() -> Callable[..., Any]:
    return current_app.view_functions[request.endpoint or ""]


def _authenticate(presented: str) -> Caller:
    try:
        # Apart from the request's transaction: a client that sends its body slowly must not hold locks all the while.
        with context.glance() as session:
            found = clients.authenticate(session, presented)
    except UnauthenticatedError:
        limits.count_stranger()
        raise
    context.parts().keyring.remember(presented, found)
    return found
