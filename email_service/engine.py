"""The composition root of delivery: builds the dispatcher, its routes and its tidying from the settings.

Knows every concrete class of delivery, so that no room of it has to; web parts are put together in `app`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from flask import Flask
from flask_mail import _Mail
from sqlalchemy.orm import Session

from email_service.delivery import attempt_traces, outbox
from email_service.delivery.assignment import Assigner
from email_service.delivery.breaker import Breakers, find_outages
from email_service.delivery.capture_transport import CaptureTransport
from email_service.delivery.dispatcher import Dispatcher, Outfit
from email_service.delivery.dkim import Signer
from email_service.delivery.letters import Packer
from email_service.delivery.pool import Pool, Seat
from email_service.delivery.routing import Route, RouteTable
from email_service.delivery.runner import Runner
from email_service.delivery.settlement import Rules
from email_service.delivery.smtp_transport import SmtpLimits, SmtpTransport
from email_service.delivery.transport import Transport
from email_service.delivery.worker import Worker
from email_service.kernel.derivation import Deriver
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.lanes import LANES
from email_service.kernel.tallies import Handover, MessageEvent, SmtpReply, Tally, TokenIssue, TokenRedemption
from email_service.kernel.traces import NoTraces
from email_service.messages.service import Intake
from email_service.messages.state import Status
from email_service.rendering.catalog import Catalog
from email_service.rendering.renderer import Renderer
from email_service.retention.policy import Policy
from email_service.retention.purge import Purge
from email_service.settings import MailMode, MailRoute, Settings
from email_service.suppressions.links import Links
from email_service.tokens import requests
from email_service.tokens.purposes import Purpose
from email_service.tokens.requests import Requests
from email_service.tokens.service import Office
from email_service.web import checks, context

_WITHOUT_ROUTE = ("accepted", "superseded", Status.SUPPRESSED, Status.EXPIRED, Status.CANCELLED)
_OUTCOMES = (Status.SENT, Status.DEFERRED, Status.BOUNCED, Status.FAILED)
LEASE_SHARE = 0.7  # of a lease, for the attempt; the rest is for what comes before and after it


def _feel_nothing() -> None:
    """The pulse of a process that others can ask."""


def create_runner(app: Flask) -> Runner:
    """Delivery in this process. Whoever starts it also stops it; accepts wake it from now on."""
    parts = context.parts_of(app)
    runner = Runner(create_dispatcher(app), LANES, create_feeds(app), create_tidy(app))
    parts.wake = runner.wake
    return runner


def create_dispatcher(
    app: Flask,
    lanes: Sequence[str] = LANES,
    connections: int | None = None,
    make_transport: Callable[[Route], Transport] | None = None,
    pulse: Callable[[], None] = _feel_nothing,
) -> Dispatcher:
    """Delivery for these lanes, with so many connections of each route instead of the configured number."""
    parts = context.parts_of(app)
    settings = parts.get(Settings)
    packer = _make_packer(settings, parts)
    outfit = Outfit(
        sessions=parts.sessions,
        glances=parts.glances,
        assigner=_make_assigner(settings, parts, connections),
        rules=Rules(parts.get(Intake).catalog, settings.mail_retry_delays),
        # While mail is switched off, what was queued before stays where it is.
        lanes=() if settings.mail_mode is MailMode.OFF else lanes,
        lease_seconds=settings.delivery_lease_seconds,
        prepare=packer.renderer.prepare,
        count=parts.figures.count,
        pulse=pulse,
    )
    is_traced = not isinstance(parts.traces, NoTraces)
    trace = partial(attempt_traces.note, parts.traces) if is_traced else attempt_traces.note_nothing
    make_transport = make_transport or partial(_make_transport, settings, parts)

    def make_worker(pool: Pool, seat: Seat, dispatcher: Dispatcher) -> Worker:
        return Worker(
            pool=pool,
            seat=seat,
            transport=make_transport(pool.route),
            packer=packer,
            breakers=outfit.assigner.breakers,
            settle=dispatcher.add_result,
            give_back=dispatcher.give_back,
            has_other_route=outfit.assigner.has_other_route,
            trace=trace,
            attempt_seconds=_attempt_seconds(settings),
        )

    return Dispatcher(outfit, make_worker)


def _make_packer(settings: Settings, parts: context.Parts) -> Packer:
    intake = parts.get(Intake)
    return Packer(
        sessions=parts.sessions,
        catalog=intake.catalog,
        renderer=parts.get(Renderer),
        sealer=intake.sealer,
        deriver=parts.get(Deriver),
        default_sender=intake.default_sender,
        links=parts.get(Links) if can_be_reached(settings) else None,
        sign=Signer(settings.dkim_keys).sign,
    )


def can_be_reached(settings: Settings) -> bool:
    """Whether readers of mail find this service; what is captured is read on this machine (RFC 8058 3.1: https)."""
    return settings.mail_mode is MailMode.CAPTURE or settings.public_url.startswith("https://")


def _make_assigner(settings: Settings, parts: context.Parts, connections: int | None) -> Assigner:
    return Assigner(
        table=make_route_table(settings, connections),
        breakers=Breakers(parts.sessions),
        domain_rates=settings.mail_domain_rates,
    )


def open_transport(app: Flask, lane: str) -> Transport:
    """The way out of a mail that no queue knows of: the first route for it, or the inbox. It has to be closed."""
    settings = context.parts_of(app).get(Settings)
    if settings.mail_mode is MailMode.OFF:
        raise InvalidInputError("Mail is switched off: take MAIL_ENABLED=false out of .env to send any.")
    domain = settings.sender.email.rpartition("@")[2]
    takers = (route for route in _find_routes(settings) if route.takes(lane, domain))
    route = next(takers, None)
    if route is None:
        raise InvalidInputError(f"No route of MAIL_ROUTES takes {lane} mail from {domain}: let one do so.")
    return _make_transport(settings, context.parts_of(app), route)


def create_feeds(app: Flask) -> Mapping[str, Callable[[], int]]:
    """What has to be done before a lane is drained, by lane: public requests become token mail."""
    parts = context.parts_of(app)
    return {requests.LANE: Requests(parts.sessions, parts.glances, parts.get(Office), parts.figures.count).drain}


def create_tidy(app: Flask) -> Callable[[], int]:
    """The drain that forgets what is old, a turn at a time; it says how many rows that was."""
    parts = context.parts_of(app)
    return Purge(parts.sessions, create_policy(parts.get(Settings))).tidy


def create_policy(settings: Settings) -> Policy:
    """How long everything is kept."""
    return Policy(
        retention_days=settings.retention_days,
        content_retention_days=settings.content_retention_days,
        audit_retention_days=settings.audit_retention_days,
    )


def foresee(catalog: Catalog, table: RouteTable) -> Iterator[Tally]:
    """What is going to be counted, so that it is told before the first of it has happened."""
    for template in catalog:
        of_template = partial(MessageEvent, lane=template.lane, template=template.name)
        yield from (of_template(event) for event in _WITHOUT_ROUTE)
        for route in table.routes:
            if not route.lanes or template.lane in route.lanes:
                yield from (of_template(event, route=route.name) for event in _OUTCOMES)
    yield from (Handover(lane, 0.0) for lane in LANES)
    for route in table.routes:
        yield from (SmtpReply(route.name, reply, 0.0) for reply in ("2xx", "4xx", "5xx", "none"))
    for purpose in Purpose:
        yield from (TokenIssue(purpose, "issued"), TokenRedemption(purpose, "redeemed"))


def make_probes(settings: Settings, table: RouteTable) -> checks.Probes:
    """How delivery stands, for those who may not know how it works."""
    broker = settings.celery_broker_url
    return checks.Probes(
        oldest_due_seconds=lambda session: {lane: outbox.oldest_due_seconds(session, lane) for lane in LANES},
        due_counts=lambda session: {lane: outbox.count_due(session, lane) for lane in LANES},
        routes=[route.name for route in table.routes],
        outages=_tell_outages,
        broker_answers=partial(checks.answers, broker) if broker else None,
    )


def _tell_outages(session: Session) -> dict[str, str]:
    outages = find_outages(session)
    return {route: f"down, {max(0.0, outage.seconds_left):.0f} s until a probe" for route, outage in outages.items()}


def make_route_table(settings: Settings, connections: int | None = None) -> RouteTable:
    """The configured routes, or the one to the inbox; with so many connections instead of the configured number."""
    routes = _find_routes(settings)
    if connections:
        routes = tuple(replace(route, connections=connections) for route in routes)
    return RouteTable(routes, settings.sender.email.rpartition("@")[2])


def _find_routes(settings: Settings) -> tuple[Route, ...]:
    if settings.mail_mode is not MailMode.SMTP:
        return (Route(name=CaptureTransport.name, connections=settings.delivery_threads),)
    return tuple(
        Route(
            name=route.name,
            connections=route.connections,
            lanes=frozenset(route.lanes),
            sender_domains=frozenset(route.sender_domains),
            weight=route.weight,
            max_rate=route.max_rate,
        )
        for route in settings.mail_routes
    )


def _make_transport(settings: Settings, parts: context.Parts, route: Route) -> Transport:
    if settings.mail_mode is not MailMode.SMTP:
        return CaptureTransport(parts.sessions)
    return make_smtp_transport(settings, next(each for each in settings.mail_routes if each.name == route.name))


def make_smtp_transport(settings: Settings, route: MailRoute) -> SmtpTransport:
    """The way to one mail server, with no connection open."""
    limits = SmtpLimits(
        timeout_seconds=settings.mail_timeout,
        connection_max_messages=settings.mail_max_emails,
        attempt_max_seconds=_attempt_seconds(settings),
    )
    return SmtpTransport(_make_mail(settings, route), limits, route.ca_file, name=route.name)


def _make_mail(settings: Settings, route: MailRoute) -> _Mail:
    """Flask-Mail's state for one route; it makes the one for the plain settings by itself."""
    return _Mail(
        server=route.server,
        username=route.username,
        password=route.password,
        port=route.port,
        use_tls=route.use_tls,
        use_ssl=route.use_ssl,
        default_sender=settings.mail_default_sender,
        debug=False,
        max_emails=settings.mail_max_emails,
        suppress=False,
        ascii_attachments=False,
    )


def _attempt_seconds(settings: Settings) -> float:
    # An attempt that outlived its lease would meet the next worker's attempt at the same message.
    return min(SmtpLimits().attempt_max_seconds, settings.delivery_lease_seconds * LEASE_SHARE)
