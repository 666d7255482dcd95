"""How much strangers may ask of the public API, enforced by Flask-Limiter: by network, by address, and by failures.

No address stands in the store of the counts, only what `kernel.crypto.Blinder` makes of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Response, after_this_request, request
from flask_smorest import Blueprint

from email_service.kernel.addresses import Address, quota_key
from email_service.kernel.crypto import Blinder
from email_service.kernel.errors import BadRequestError, RateLimitedError
from email_service.settings import EmailQuotaResponse, Settings
from email_service.web import bodies, context, limits
from email_service.web.limits import Quota

_POLICY = "ip"


def guard_public(blueprint: Blueprint) -> Blueprint:
    """Count every call of the blueprint against its network's quota, and read what it says only after that."""
    blueprint.before_request(_admit)
    return blueprint


def take_place(email: str, told: Mapping[str, Any]) -> bool:
    """Count a request for a mail to this address, which `parse` made: for the network, and then for the address.

    False when the address has had enough and the operator wants nobody to hear of it. Otherwise RateLimitedError says
    what is over, with the members of `told`.
    """
    settings = context.part(Settings)
    by_network = Quota("public-issue-ip", _network(), settings.public_issue_limit_per_ip)
    try:
        with _telling(told):
            by_network.count()
    finally:
        _announce(by_network)
    try:
        with _telling(told):
            Quota("public-issue-email", _blinded(email), settings.public_issue_limit_per_email).count()
    except RateLimitedError:
        if settings.token_email_quota_response is EmailQuotaResponse.LOUD:
            raise
        return False
    return True


@contextmanager
def failures_counted() -> Iterator[None]:
    """Nobody enters whose network has failed too often. A failure inside is counted, and no success takes one back."""
    failures = Quota("public-failures", _network(), context.part(Settings).public_redeem_failure_limit)
    failures.look()
    try:
        yield
    except BadRequestError:
        # Of many that fail at the same moment, those over the quota hear only that there were too many.
        failures.count()
        raise


def _admit() -> None:
    # A browser's question whether a page may call at all (CORS) is no call.
    if request.method != "OPTIONS":
        limits.count_stranger()
        bodies.read()


def _network() -> str:
    return limits.network_key(request.remote_addr)


def _blinded(email: str) -> str:
    return context.part(Blinder).blind(quota_key(Address(email, email.rpartition("@")[2])))


@contextmanager
def _telling(told: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except RateLimitedError as error:
        raise RateLimitedError(retry_after_seconds=error.retry_after_seconds, members=told) from None


def _announce(quota: Quota) -> None:
    """Say in the answer how much the network may still ask for (draft-ietf-httpapi-ratelimit-headers-11)."""
    policies, left = [], []
    for number, (item, remaining, seconds) in enumerate(quota.standing(), start=1):
        name = _POLICY if number == 1 else f"{_POLICY}-{number}"
        policies.append(f'"{name}";q={item.amount};w={item.get_expiry()}')
        left.append(f'"{name}";r={remaining};t={seconds}')

    @after_this_request
    def tell(response: Response) -> Response:
        response.headers["RateLimit-Policy"] = ", ".join(policies)
        response.headers["RateLimit"] = ", ".join(left)
        return response
