"""How the text of the variables about lanes, rates, routes and domains becomes a value, by the rules of `values`.

Knows no variable by name and never repeats what was written.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from email_service.kernel import addresses
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.lanes import LANES

EVERY_OTHER = "*"  # stands for each domain that has no rate of its own

_SPANS = {"second": 1, "minute": 60, "hour": 3600}
_RATE = re.compile(rf"([1-9][0-9]{{0,6}})\s*/\s*({'|'.join(_SPANS)})")
_ROUTE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?")


def rate(text: str) -> float:
    """Messages a second, from `14/second`, `200/minute` or `10000/hour`."""
    matched = _RATE.fullmatch(text.strip().lower())
    if matched is None:
        raise ValueError("write a whole number above 0 with /second, /minute or /hour, such as 14/second.")
    return int(matched[1]) / _SPANS[matched[2]]


def domain_rates(text: str) -> Mapping[str, float]:
    """Messages a second for each recipient's domain, from `gmail.com=10/second,*=50/second`."""
    rates: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, written = part.partition("=")
        if not equals:
            raise ValueError("write a domain (or * for each other one), = and a rate, such as gmail.com=10/second.")
        name = EVERY_OTHER if name.strip() == EVERY_OTHER else domain(name)
        if name in rates:
            raise ValueError("write each domain once.")
        rates[name] = rate(written)
    return MappingProxyType(rates)


def domain(text: str) -> str:
    """A domain in lower-case A-labels, as it stands behind the @ of a checked address."""
    try:
        return addresses.parse(f"postmaster@{text.strip()}").domain
    except InvalidInputError:
        raise ValueError("write the domain of an address, such as acme.example.") from None


def lanes(text: str) -> tuple[str, ...]:
    """Lanes between commas, each once, in the order in which they are served."""
    named = {part.strip().lower() for part in text.split(",") if part.strip()}
    if not named or not named <= set(LANES):
        raise ValueError(f"write one or more of: {', '.join(LANES)}.")
    return tuple(lane for lane in LANES if lane in named)


def lanes_or_none(text: str) -> tuple[str, ...]:
    """Lanes between commas, or the word `none`: an empty value would mean unset."""
    if text.strip().lower() == "none":
        return ()
    try:
        return lanes(text)
    except ValueError:
        raise ValueError(f"write none, or one or more of: {', '.join(LANES)}.") from None


def route_names(text: str) -> tuple[str, ...]:
    """Names of mail routes between commas, the first choice first."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names or not all(map(_ROUTE_NAME.fullmatch, names)):
        raise ValueError(
            "write names separated by commas, each of at most 20 lower-case letters, digits and inner hyphens."
        )
    if len(set(names)) < len(names):
        raise ValueError("write each name once.")
    return names
