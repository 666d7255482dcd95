"""How much strangers may ask of the public API, enforced by Flask-Limiter: by network, by address, and by failures.

No address stands in the store of the counts, only what `kernel.crypto.Blinder` makes of it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Response, after_this_request, g, request
from flask_limiter import RateLimitExceeded
from flask_smorest import Blueprint

from email_service.extensions import limiter
from email_service.kernel import clock
from email_service.kernel.addresses import Address, quota_key
from email_service.kernel.crypto import Blinder
from email_service.kernel.errors import BadRequestError, RateLimitedError
from email_service.settings import EmailQuotaResponse, Settings
from email_service.web import bodies, context, limits

_POLICY = "ip"
_FAILURES = "public-failures"


def guard_public(blueprint: Blueprint) -> Blueprint:
    """Count every call of the blueprint against its network's quota, and read what it says only after that."""
    blueprint.before_request(_admit)
    return blueprint


def take_place(email: str, told: Mapping[str, Any]) -> bool:
    """Count a request for a mail to this address, which `parse` made: for the network, and then for the address.

    False when the address has had enough and the operator wants nobody to hear of it. Otherwise RateLimitedError says
    what is over, with the members of `told`.
    """
    with _telling(told):
        try:
            _count_request_of_network()
        finally:
            _announce()
    g.counted_address = _blinded(email)
    try:
        with _telling(told):
            _count_request_for_address()
    except RateLimitedError:
        if context.part(Settings).token_email_quota_response is EmailQuotaResponse.LOUD:
            raise
        return False
    return True


@contextmanager
def failures_counted() -> Iterator[None]:
    """Nobody enters whose network has failed too often. A failure inside is counted, and no success takes one back."""
    _refuse_failures()
    try:
        yield
    except BadRequestError:
        # Of many that fail at the same moment, those over the quota hear only that there were too many.
        _count_failure()
        raise


def _admit() -> None:
    # A browser's question whether a page may call at all (CORS) is no call.
    if request.method != "OPTIONS":
        limits.count_stranger()
        bodies.read()


def _network() -> str:
    return limits.network_key(request.remote_addr)


def _address() -> str:
    # A key function that raised would look like a store that is away, so it only fetches.
    counted: str = g.counted_address
    return counted


def _blinded(email: str) -> str:
    return context.part(Blinder).blind(quota_key(Address(email, email.rpartition("@")[2])))


def _failure_limit() -> str:
    return context.part(Settings).public_redeem_failure_limit


@limiter.shared_limit(
    lambda: context.part(Settings).public_issue_limit_per_ip, scope="public-issue-ip", key_func=_network
)
def _count_request_of_network() -> None:
    """By the network of whoever asks."""


@limiter.shared_limit(
    lambda: context.part(Settings).public_issue_limit_per_email, scope="public-issue-email", key_func=_address
)
def _count_request_for_address() -> None:
    """By the address that was asked for, whoever asks."""


@limiter.shared_limit(_failure_limit, scope=_FAILURES, key_func=_network, deduct_when=lambda _response: False)
def _refuse_failures() -> None:
    """Only looks."""


@limiter.shared_limit(_failure_limit, scope=_FAILURES, key_func=_network)
def _count_failure() -> None:
    """The same count."""


@contextmanager
def _telling(told: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except RateLimitExceeded:
        raise RateLimitedError(retry_after_seconds=limits.seconds_until_reset(), members=told) from None


def _announce() -> None:
    """Say in the answer how much the network may still ask for (draft-ietf-httpapi-ratelimit-headers-11)."""
    policies, left, now = [], [], clock.now().timestamp()
    try:
        for number, counted in enumerate(limiter.current_limits, start=1):
            name = _POLICY if number == 1 else f"{_POLICY}-{number}"
            seconds = max(0, math.ceil(counted.window.reset_time - now))
            policies.append(f'"{name}";q={counted.limit.amount};w={counted.limit.get_expiry()}')
            left.append(f'"{name}";r={counted.remaining};t={seconds}')
    except limiter.storage.base_exceptions:  # the store went away in between
        return

    @after_this_request
    def tell(response: Response) -> Response:
        response.headers["RateLimit-Policy"] = ", ".join(policies)
        response.headers["RateLimit"] = ", ".join(left)
        return response
