"""Which way a message takes: the routes there are, and which of them one message may use. Pure rules, no state."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way out, as configured; the order of routes is the order in which they are tried."""

    name: str
    connections: int  # that one process may keep open
    lanes: frozenset[str] = frozenset()  # empty: all
    sender_domains: frozenset[str] = frozenset()  # of the From address; empty: all
    weight: int = 1  # its share beside the others; 0: only when none of those is usable
    max_rate: float | None = None  # messages a second, over all processes

    def takes(self, lane: str, sender_domain: str) -> bool:
        """Whether a message of this lane and sender may use the route at all."""
        if self.lanes and lane not in self.lanes:
            return False
        return not self.sender_domains or sender_domain in self.sender_domains


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every route, and which of them a message may take."""

    routes: Sequence[Route]
    default_sender_domain: str  # of messages that name no sender

    def find_takers(self, message: Any) -> tuple[Route, ...]:
        """The routes that the message may use, those named for its sender's domain before those for everybody."""
        domain = message.sender["email"].rpartition("@")[2] if message.sender else self.default_sender_domain
        takers = [route for route in self.routes if route.takes(message.lane, domain)]
        named = tuple(route for route in takers if route.sender_domains)
        return named or tuple(takers)


def choose(routes: Collection[Route], is_usable: Callable[[str], bool], draw: float) -> Route | None:
    """The route that a message takes which may use all of these; None while none is usable.

    `draw` is a random number from 0 to 1: usable routes are chosen in proportion to their weights.
    """
    usable = [route for route in routes if is_usable(route.name)]
    left = draw * sum(route.weight for route in usable)
    for route in usable:
        left -= route.weight
        if route.weight and left <= 0:
            return route
    return usable[0] if usable else None
