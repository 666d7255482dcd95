"""How much a caller may, enforced by Flask-Limiter. An address of IPv6 counts as its /64, for one house has many."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import g, request
from limits import RateLimitItem, parse_many

from email_service.clients.service import Caller
from email_service.extensions import limiter
from email_service.kernel import clock
from email_service.kernel.errors import RateLimitedError
from email_service.kernel.moving_window import ProcessStorage
from email_service.settings import Settings
from email_service.web import context

_IPV6_HOUSEHOLD_BITS = 64
_CALLERS = "api"


def network_key(remote_address: str | None) -> str:
    """The bucket of an IP address; all that cannot be read share one, so that nobody escapes by confusing us."""
    try:
        address: IPv4Address | IPv6Address = ip_address((remote_address or "").split("%")[0])
    except ValueError:
        return "unreadable"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((address, _IPV6_HOUSEHOLD_BITS), strict=False))
    return str(address)


def seconds_until_reset() -> int:
    """How long the caller has to wait after the breach that was just found."""
    breached = [limit for limit in limiter.current_limits if limit.breached]
    try:
        return max((int(limit.reset_at - clock.now().timestamp()) + 1 for limit in breached), default=1)
    except limiter.storage.base_exceptions:  # the store went away in between
        return 1


def count_caller() -> None:
    """Count this call against the client's quota; 429 when it is used up."""
    if isinstance(limiter.storage, ProcessStorage):
        _count_here(_caller_limit(), _caller_key(), _CALLERS)
    else:
        _count_caller_shared()


@limiter.shared_limit(
    lambda: context.part(Settings).public_rate_limit, scope="public", key_func=lambda: network_key(request.remote_addr)
)
def count_stranger() -> None:
    """Count a call of the public API, or one without a valid key, against its network's quota."""


def _caller_limit() -> str:
    # Once it has counted a view's caller, Flask-Limiter also asks when it counts a stranger there, and counts nothing.
    caller: Caller | None = g.get("caller")
    return (caller and caller.rate_limit) or context.part(Settings).api_rate_limit


def _caller_key() -> str:
    return str(g.caller.client_id)


@limiter.shared_limit(_caller_limit, scope=_CALLERS, key_func=_caller_key)
def _count_caller_shared() -> None:
    """Flask-Limiter counts, and goes on in this process while the store is away."""


def _count_here(limits: str, key: str, scope: str) -> None:
    # To find out which limits a view has costs Flask-Limiter a tenth of an accept. This store cannot be away, so there
    # is nothing to fall back on. A breach counts in all windows.
    breached = [each for each in _parsed(limits) if not limiter.limiter.hit(each, key, scope)]
    if breached:
        now = clock.now().timestamp()
        ends_at = (limiter.limiter.get_window_stats(each, key, scope).reset_time for each in breached)
        raise RateLimitedError(retry_after_seconds=max(int(end - now) + 1 for end in ends_at))


@lru_cache
def _parsed(limits: str) -> tuple[RateLimitItem, ...]:
    return tuple(sorted(parse_many(limits)))
