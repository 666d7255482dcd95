"""How much a caller may, enforced by Flask-Limiter. An address of IPv6 counts as its /64, for one house has many."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import cast

from flask import g, request
from limits import RateLimitItem, parse_many

from email_service.clients.service import Caller
from email_service.extensions import limiter
from email_service.kernel.errors import RateLimitedError
from email_service.kernel.moving_window import Place, Standing, Store
from email_service.kernel.tallies import QuotaHit
from email_service.settings import Settings
from email_service.web import context

_IPV6_HOUSEHOLD_BITS = 64


@dataclass(frozen=True, slots=True)
class Quota:
    """How much is allowed of something to whoever has the key, such as 5/hour, or 5/hour;20/day."""

    scope: str  # what is counted together
    key: str
    allowed: str
    is_counted: bool = True  # False: nothing is taken of it
    is_told: bool = False  # whether an answer says how much is left


@dataclass(frozen=True, slots=True)
class Window:
    """One of a quota's windows, and how it stands."""

    limit: int
    seconds: int
    left: int
    free_in_seconds: int


def enter(*quotas: Quota) -> tuple[Quota | None, dict[str, list[Window]]]:
    """Count a request in each quota up to the first that is used up: which one that is, and the windows by scope.

    A breach of one window of a quota counts in its others.
    """
    # Not by decorating views: to find out which limits a view has costs Flask-Limiter more than to count.
    standings = _store().take([_places(quota) for quota in quotas])
    told = dict(zip(quotas, standings, strict=False))
    over = next((quota for quota, found in told.items() if any(each.is_over for each in found)), None)
    if over is not None:
        context.count(QuotaHit(over.scope))
        context.parts().note_breach(over.scope, over.key, over.allowed)
    return over, {quota.scope: list(_windows(quota, found)) for quota, found in told.items()}


def refuse_over(*quotas: Quota) -> None:
    """Count a request in each, if there are any; RateLimitedError for the first that is used up."""
    over, windows = enter(*quotas) if quotas else (None, {})
    if over is not None:
        raise RateLimitedError(retry_after_seconds=wait_seconds(windows[over.scope]))


def wait_seconds(windows: list[Window]) -> int:
    """How long to wait until all the windows of a quota have a place again."""
    return max([1, *(window.free_in_seconds for window in windows if not window.left)])


@lru_cache(1024)  # a request asks for each of its quotas
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
    refuse_over(Quota("api", str(caller.client_id), caller.rate_limit or context.part(Settings).api_rate_limit))


def count_stranger() -> None:
    """Count a call of the public API, or one without a valid key, against its network's quota."""
    refuse_over(of_stranger())


def of_stranger() -> Quota:
    """The quota of the calls that this request's network makes without a key."""
    return Quota("public", network_key(request.remote_addr), context.part(Settings).public_rate_limit)


def _store() -> Store:
    # Whichever Flask-Limiter chose by the configuration: all of ours can do this.
    return cast(Store, limiter.storage)


def _places(quota: Quota) -> list[Place]:
    return [
        Place(item.key_for(quota.key, quota.scope), item.amount, item.get_expiry(), quota.is_counted, quota.is_told)
        for item in _parsed(quota.allowed)
    ]


def _windows(quota: Quota, standings: list[Standing]) -> Iterator[Window]:
    for item, found in zip(_parsed(quota.allowed), standings, strict=True):
        yield Window(item.amount, item.get_expiry(), found.left, max(0, math.ceil(found.free_in_seconds)))


@lru_cache
def _parsed(text: str) -> tuple[RateLimitItem, ...]:
    return tuple(sorted(set(parse_many(text))))
