"""How much a caller may, enforced by Flask-Limiter. An address of IPv6 counts as its /64, for one house has many."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import g, request

from email_service.extensions import limiter
from email_service.settings import Settings
from email_service.web import context

_IPV6_HOUSEHOLD_BITS = 64


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


def _caller_limit() -> str:
    # Flask-Limiter also asks before anybody is authenticated, and then counts nothing.
    caller = g.get("caller")
    return (caller and caller.rate_limit) or context.part(Settings).api_rate_limit


@limiter.shared_limit(_caller_limit, scope="api", key_func=lambda: str(g.caller.client_id))
def count_caller() -> None:
    """Count this call against the client's quota; Flask-Limiter answers 429 when it is used up."""


@limiter.shared_limit(
    lambda: context.part(Settings).public_rate_limit, scope="public", key_func=lambda: network_key(request.remote_addr)
)
def count_stranger() -> None:
    """Count a call without a valid key against its network's quota."""
