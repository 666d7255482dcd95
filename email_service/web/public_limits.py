"""How much strangers may ask of the public API, enforced by Flask-Limiter: by network, by address, and by failures.

No address stands in the store of the counts, only what `kernel.crypto.Blinder` makes of it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import Response, after_this_request, current_app, g, request
from flask_smorest import Blueprint

from email_service.kernel.addresses import Address, quota_key
from email_service.kernel.crypto import Blinder
from email_service.kernel.errors import BadRequestError, RateLimitedError
from email_service.settings import EmailQuotaResponse, Settings
from email_service.web import bodies, context, limits
from email_service.web.limits import Quota, Window

_POLICY = "ip"
_REDEEMS = "_redeems"
_COUNTS_LATER = "_counts_later"
_SMALL_OCTETS = 2048  # a body that may be read for somebody who may have called too often already
_P = ParamSpec("_P")
_R = TypeVar("_R")


def guard_public(blueprint: Blueprint) -> Blueprint:
    """Count every call of the blueprint against its network's quota, and read what it says only after that."""
    blueprint.before_request(_admit)
    return blueprint


def redeems(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Nobody reaches the view whose network has failed too often there. A failure counts; no success takes one back."""

    @wraps(view)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with failures_counted():
            return view(*args, **kwargs)

    setattr(wrapper, _REDEEMS, True)
    return wrapper


def counts_later(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """The view takes a place, and its network is counted in the same question to the store; at the latest at its end.

    Goes around whatever reads the body. A large body is still read by nobody who has called too often.
    """

    @wraps(view)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            bodies.read()
            return view(*args, **kwargs)
        finally:
            # Whatever was wrong with the request, it was one; and too many are too many before anything is wrong.
            limits.refuse_over(*_uncounted())

    setattr(wrapper, _COUNTS_LATER, True)
    return wrapper


@contextmanager
def failures_counted() -> Iterator[None]:
    """A failure inside is counted against what `refuse_failed` looks at."""
    try:
        yield
    except BadRequestError:
        # Of many that fail at the same moment, those over the quota hear only that there were too many.
        limits.refuse_over(_failures(is_counted=True))
        raise


def refuse_failed() -> None:
    """RateLimitedError when the network has failed too often; nothing is counted."""
    limits.refuse_over(_failures(is_counted=False))


def take_place(email: str, told: Mapping[str, Any]) -> bool:
    """Count a request for a mail to this address, which `parse` made: for the network, and then for the address.

    False when the address has had enough and the operator wants nobody to hear of it. Otherwise RateLimitedError says
    what is over, with the members of `told`.
    """
    settings = context.part(Settings)
    by_network = Quota("public-issue-ip", _network(), settings.public_issue_limit_per_ip, is_told=True)
    by_address = Quota("public-issue-email", _blinded(email), settings.public_issue_limit_per_email)
    over, windows = limits.enter(*(before := _uncounted()), by_network, by_address)
    if over in before:
        raise RateLimitedError(retry_after_seconds=limits.wait_seconds(windows[over.scope]))
    _announce(windows[by_network.scope])
    if over is by_address and settings.token_email_quota_response is EmailQuotaResponse.SILENT:
        return False
    if over is not None:
        raise RateLimitedError(retry_after_seconds=limits.wait_seconds(windows[over.scope]), members=told)
    return True


def _admit() -> None:
    # A browser's question whether a page may call at all (CORS) is no call.
    if request.method == "OPTIONS":
        return
    view = current_app.view_functions[request.endpoint or ""]
    if hasattr(view, _COUNTS_LATER) and 0 < (request.content_length or 0) <= _SMALL_OCTETS:
        g.uncounted = [limits.of_stranger()]
        return
    limits.refuse_over(limits.of_stranger(), *([_failures(is_counted=False)] if hasattr(view, _REDEEMS) else []))
    bodies.read()


def _uncounted() -> list[Quota]:
    """What this request is to be counted in before anything else, if that has not been done."""
    found: list[Quota] = g.pop("uncounted", [])
    return found


def _failures(*, is_counted: bool) -> Quota:
    allowed = context.part(Settings).public_redeem_failure_limit
    return Quota("public-failures", _network(), allowed, is_counted=is_counted)


def _network() -> str:
    return limits.network_key(request.remote_addr)


def _blinded(email: str) -> str:
    return context.part(Blinder).blind(quota_key(Address(email, email.rpartition("@")[2])))


def _announce(windows: list[Window]) -> None:
    """Say in the answer how much the network may still ask for (draft-ietf-httpapi-ratelimit-headers-11)."""
    policies, left = [], []
    for number, window in enumerate(windows, start=1):
        name = _POLICY if number == 1 else f"{_POLICY}-{number}"
        policies.append(f'"{name}";q={window.limit};w={window.seconds}')
        left.append(f'"{name}";r={window.left};t={window.free_in_seconds}')

    @after_this_request
    def tell(response: Response) -> Response:
        response.headers["RateLimit-Policy"] = ", ".join(policies)
        response.headers["RateLimit"] = ", ".join(left)
        return response
