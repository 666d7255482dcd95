"""How much a caller may, enforced by Flask-Limiter. An address of IPv6 counts as its /64, for one house has many."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import g, request
from limits import RateLimitItem, parse_many

from email_service.clients.service import Caller
from email_service.extensions import limiter
from email_service.kernel import clock
from email_service.kernel.errors import RateLimitedError
from email_service.settings import Settings
from email_service.web import context

_IPV6_HOUSEHOLD_BITS = 64


@dataclass(frozen=True, slots=True)
class Quota:
    """How many hits of one key may count at a time, such as 5/hour, or 5/hour;20/day."""

    scope: str  # what is counted together
    key: str
    allowed: str

    def count(self) -> None:
        """Count a hit; RateLimitedError when there was no place for it. A breach of one window counts in the others."""
        # Not by decorating a view: to find out which limits a view has costs Flask-Limiter more than to count.
        self._refuse([each for each in _parsed(self.allowed) if not limiter.limiter.hit(each, self.key, self.scope)])

    def look(self) -> None:
        """RateLimitedError when there is no place for a hit; nothing is counted."""
        self._refuse([each for each in _parsed(self.allowed) if not limiter.limiter.test(each, self.key, self.scope)])

    def standing(self) -> Iterator[tuple[RateLimitItem, int, int]]:
        """Each window, how many hits it has place for, and in how many seconds the next place gets free."""
        for item in _parsed(self.allowed):
            window = limiter.limiter.get_window_stats(item, self.key, self.scope)
            yield item, window.remaining, max(0, math.ceil(window.reset_time - clock.now().timestamp()))

    def _refuse(self, breached: list[RateLimitItem]) -> None:
        if breached:
            seconds = (left for item, _, left in self.standing() if item in breached)
            raise RateLimitedError(retry_after_seconds=max(1, *seconds, 1))


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


def count_caller() -> None:
    """Count this call against the client's quota; RateLimitedError when it is used up."""
    caller: Caller = g.caller
    Quota("api", str(caller.client_id), caller.rate_limit or context.part(Settings).api_rate_limit).count()


def count_stranger() -> None:
    """Count a call of the public API, or one without a valid key, against its network's quota."""
    Quota("public", network_key(request.remote_addr), context.part(Settings).public_rate_limit).count()


@lru_cache
def _parsed(text: str) -> tuple[RateLimitItem, ...]:
    return tuple(sorted(parse_many(text)))
