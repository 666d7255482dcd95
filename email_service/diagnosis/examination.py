"""Everything that can be wrong with an installation, one check after the other, with what each is about to do.

Knows the order; what a check finds is its own business.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from email_service.diagnosis import mail_servers, sender_domains, unsubscribing
from email_service.kernel.errors import UnavailableError
from email_service.rendering.catalog import Catalog
from email_service.settings import DkimKey, MailMode, MailRoute, Settings
from email_service.web import checks
from email_service.web.checks import Finding, Level
from email_service.web.context import Parts

FindTexts = sender_domains.FindTexts


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the examination."""

    title: str  # what it is about to do
    find: Callable[[], Sequence[Finding]]


def plan(parts: Parts, find_texts: FindTexts) -> Iterator[Step]:
    """The steps for these settings; while no mail is sent, nobody else's servers are asked."""
    settings = parts.get(Settings)
    yield Step(
        "the database, the broker and the store of the limits",
        lambda: checks.look(settings, parts.glances, parts.get(checks.Probes)).findings,
    )
    if settings.mail_mode is not MailMode.SMTP:
        return
    yield Step("the links of mail", lambda: unsubscribing.check_links(settings, parts.get(Catalog)))
    for route in settings.mail_routes:
        yield Step(f"the mail server {route.server}:{route.port}", partial(_check_route, settings, route))
    for domain in _find_domains(settings):
        yield Step(f"the DNS records of {domain}", partial(_check_domain, settings, domain, find_texts))


def _check_route(settings: Settings, route: MailRoute) -> list[Finding]:
    return [mail_servers.check_route(settings, route)]


def _check_domain(settings: Settings, domain: str, find_texts: FindTexts) -> list[Finding]:
    # As a message is signed: by the keys of its domain, else by those of the nearest domain above it.
    keys = next((of for place in sender_domains.upwards(domain) if (of := _keys_of(settings, place))), [])
    servers = [
        route.server for route in settings.mail_routes if domain in route.sender_domains or not route.sender_domains
    ]
    signers = [key.domain for key in keys]
    wanted: list[tuple[str, Callable[[], Finding]]] = [
        ("spf", lambda: sender_domains.check_spf(domain, servers, find_texts)),
        *(("dkim", partial(sender_domains.check_dkim, key, find_texts)) for key in keys),
        ("dmarc", lambda: sender_domains.check_dmarc(domain, signers, find_texts)),
    ]
    found = [_ask(name, domain, check) for name, check in wanted]
    return found if keys else [*found, sender_domains.tell_foreign_signing(domain)]


def _ask(name: str, domain: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except UnavailableError as error:
        return Finding(
            name, Level.FAILURE, f"{error.detail} Try again, or name another with --dns-server.", "unknown", domain
        )


def _find_domains(settings: Settings) -> list[str]:
    """The domains that mail is from, as far as settings tell."""
    default = settings.sender.email.rpartition("@")[2]
    named = [domain for route in settings.mail_routes for domain in route.sender_domains]
    return list(dict.fromkeys([default, *named, *(key.domain for key in settings.dkim_keys)]))


def _keys_of(settings: Settings, domain: str) -> list[DkimKey]:
    return [key for key in settings.dkim_keys if key.domain == domain]
