"""Which ways mail can leave: those that MAIL_ROUTES names, or the one that the plain MAIL_* variables describe.

Knows how one route's variables are called; what they mean together is `mail_rules`' business.
"""

from dataclasses import fields
from typing import Any

from email_service.kernel.errors import Fault
from email_service.settings import mail_rules
from email_service.settings.environment import Environment
from email_service.settings.variables import MailRoute, Variable

PREFIX = "MAIL_ROUTE_"
ONLY_ROUTE = "smtp"  # the name of the route that the plain variables describe
VARIABLES: dict[str, Variable] = {
    each.name: each.metadata["variable"] for each in fields(MailRoute) if "variable" in each.metadata
}

# What the plain variables say about the only route; the rest is for choosing between several.
_PLAIN = ("server", "port", "use_tls", "use_ssl", "username", "password", "ca_file", "max_rate")


def settle(values: dict[str, Any], environment: Environment) -> list[Fault]:
    """Turn the names in `mail_routes` into routes; the faults are what they lack, contradict or misspell."""
    names: tuple[str, ...] = values["mail_routes"] or ()
    plain = {suffix: values[f"mail_{suffix}"] for suffix in _PLAIN}
    faults = _unknown(names, environment) + (_chosen_twice(plain) if names else [])
    contradictions = mail_rules.settle_server(plain, "MAIL_")
    values.update({f"mail_{suffix}": value for suffix, value in plain.items()})
    if not names:
        if plain["server"] is not None:
            values["mail_routes"] = (_only(plain, values["delivery_threads"]),)
        return faults + contradictions
    routes = []
    for name in names:
        route, wrong = _read(name, environment, values["delivery_threads"])
        routes.append(route)
        faults += wrong
    values["mail_routes"] = tuple(routes)
    return faults


def variable(name: str, suffix: str) -> str:
    """What a route's variable is called: `MAIL_ROUTE_MY_RELAY_PORT` for the port of `my-relay`."""
    return f"{_prefix(name)}{suffix.upper()}"


def _prefix(name: str) -> str:
    return f"{PREFIX}{name.upper().replace('-', '_')}_"


def _only(plain: dict[str, Any], threads: int) -> MailRoute:
    defaults = {suffix: each.default for suffix, each in VARIABLES.items()}
    return MailRoute(**{**defaults, **plain, "name": ONLY_ROUTE, "connections": threads})


def _read(name: str, environment: Environment, threads: int) -> tuple[MailRoute, list[Fault]]:
    values = {suffix: environment.read(variable(name, suffix), each) for suffix, each in VARIABLES.items()}
    if values["connections"] is None:
        values["connections"] = threads
    faults = mail_rules.settle_server(values, _prefix(name))
    if values["server"] is None:
        faults.append(Fault(variable(name, "server"), "set it to the mail server of this route."))
    return MailRoute(name=name, **values), faults


def _chosen_twice(plain: dict[str, Any]) -> list[Fault]:
    if plain["server"] is not None:
        return [Fault("MAIL_ROUTES", "choose: unset it, or unset MAIL_SERVER and give each route its own server.")]
    # A rate or a login that no route uses would look as if it held.
    return [
        Fault(f"MAIL_{suffix.upper()}", f"unset it; with MAIL_ROUTES each route has its own _{suffix.upper()}.")
        for suffix, value in plain.items()
        if value is not None
    ]


def _unknown(names: tuple[str, ...], environment: Environment) -> list[Fault]:
    known = {variable(name, suffix) for name in names for suffix in VARIABLES}
    endings = ", ".join(f"_{suffix.upper()}" for suffix in VARIABLES)
    return [
        Fault(found, f"belongs to no route; after {PREFIX} write a name from MAIL_ROUTES and one of {endings}.")
        for found in environment.names(PREFIX)
        if found not in known and found.removesuffix("_FILE") not in known
    ]
