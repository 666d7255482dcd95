"""`email-service run`, `migrate`, `worker` and `beat`: the processes of the service."""

import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click
import structlog
from celery.apps.beat import Beat
from celery.beat import Scheduler, Service
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging
from flask import Flask
from prometheus_client import CollectorRegistry, start_http_server

from email_service.audit import service as audit
from email_service.audit.service import OPERATOR
from email_service.celery_app import create_celery
from email_service.cli import health, house, observation
from email_service.cli.server import Server, place_of
from email_service.cli.upgrade import upgrade
from email_service.clients import service as clients
from email_service.delivery import tasks
from email_service.delivery.runner import STOP_SECONDS, Runner
from email_service.engine import create_dispatcher, create_feeds, create_tidy
from email_service.extensions import db
from email_service.kernel import heap
from email_service.kernel.heartbeat import Heartbeat
from email_service.kernel.lanes import LANES
from email_service.settings import MailMode, Settings, load
from email_service.settings.variables import DEFAULT_PUBLIC_URL

_log = structlog.get_logger(__name__)

BACKGROUND_NICENESS = 10
DEVELOPMENT_CLIENT = "development"
_FIRST_MESSAGE = '{"template": "welcome", "to": "ada@example.com", "variables": {"name": "Ada"}}'


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Web processes.")
@click.option("--threads", default=8, show_default=True, type=click.IntRange(1, 256), help="Threads in each of them.")
def run(host: str, port: int, workers: int, threads: int) -> None:
    """Migrate, then serve HTTP; without CELERY_BROKER_URL, deliver in the same process too."""
    host = host.removeprefix("[").removesuffix("]")
    _refuse_taken(host, port)
    place = place_of(host, port)
    settings = _at(host, place, load())
    if settings.metrics_bind:
        _refuse_taken(*settings.metrics_bind, "METRICS_BIND")
    observation.check(settings)
    app = house.build(settings)
    upgrade(app)
    api_key = _development_key(app, settings)
    with app.app_context():
        db.engine.dispose()
    _greet(f"http://{place}", settings, api_key)
    # What gunicorn's own process says from here on is part of the log too.
    observation.begin_log(settings)
    Server(settings, bind=place, workers=workers, threads=threads).run()


@click.command()
def migrate() -> None:
    """Bring the database to the state that this version needs; safe to run twice, and by several at once."""
    is_current = upgrade(house.build())
    print("The database is up to date." if is_current else "The database is newer than this version: left as it is.")


@click.command()
@click.option("--lanes", default=",".join(LANES), show_default=True, help="Which lanes to serve, comma-separated.")
@click.option(
    "--concurrency", type=click.IntRange(1, 128), help="Connections of each mail route; DELIVERY_THREADS if left out."
)
def worker(lanes: str, concurrency: int | None) -> None:
    """Deliver what is due, woken through the broker (CELERY_BROKER_URL) or by a look every second."""
    settings = load()
    celery = create_celery(settings)
    unknown = set(lanes.split(",")) - set(LANES)
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: a lane is one of {', '.join(LANES)}.")
    app = house.watched(settings)
    # Whoever listens to this signal has set the logs up; else Celery would raise the level to WARNING.
    setup_logging.connect(_keep_logs, weak=False)
    served = [lane for lane in LANES if lane in lanes.split(",")]
    if LANES[0] not in served:
        # Where CPU is short, requests and the workers that serve tokens come first.
        os.nice(BACKGROUND_NICENESS)
    heartbeat = Heartbeat(health.WORKER)
    runner = Runner(create_dispatcher(app, served, concurrency, pulse=heartbeat.beat), served, create_feeds(app))
    if settings.metrics_bind:
        _refuse_taken(*settings.metrics_bind, "METRICS_BIND")
        start_http_server(settings.metrics_bind[1], settings.metrics_bind[0], house.parts(app).get(CollectorRegistry))
    tasks.register(celery, wake=runner.wake, tidy=create_tidy(app), ask_to_stop=runner.ask_to_stop)
    # Celery warns about root because of pickle, which is not accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    _log.info("worker.starting", lanes=lanes)
    # Not `worker_main`, which forgets the exit code of a worker that could not go on.
    process = celery.Worker(
        quiet=True,
        pool_cls="threads",
        # One for wake-ups, which take no time, and one for tidying; the sending is done by threads of our own.
        concurrency=2,
        queues=",".join(served),
        without_gossip=True,
        without_mingle=True,
    )
    heap.settle()
    runner.start()
    try:
        process.start()
    finally:
        runner.stop(STOP_SECONDS)
        heartbeat.end()
    sys.exit(process.exitcode)


@click.command()
def beat() -> None:
    """Send the sweep that finds due messages when a wake-up was lost; run exactly one, two do no harm."""
    settings = load()
    celery = create_celery(settings)
    observation.begin(settings)
    heartbeat = Heartbeat(health.BEAT)
    _PulsingScheduler.pulse = staticmethod(heartbeat.beat)
    try:
        scheduler = f"{__name__}:{_PulsingScheduler.__name__}"
        _Beat(app=celery, scheduler_cls=scheduler, loglevel=settings.log_level, quiet=True).run()
    finally:
        heartbeat.end()


def _keep_logs(**_: object) -> None:
    """The logs are as `observation` made them."""


class _PulsingScheduler(Scheduler):
    """Gives a sign of life with each turn; its schedule is in the code, so nothing is remembered in a file."""

    pulse: Callable[[], None]
    is_over = False

    def tick(self, *arguments: Any, **options: Any) -> float:
        self.pulse()
        seconds: float = super().tick(*arguments, **options)
        return seconds

    def _ensure_connected(self) -> Any:
        # A turn lasts for as long as the broker is away: at work all the while, and not to be waited for by a stop.
        return self.connection.ensure_connection(_tell_absence, callback=self._wait_on)

    def _wait_on(self) -> None:
        if self.is_over:
            raise SystemExit
        self.pulse()


class _Beat(Beat):
    def install_sync_handler(self, service: Service) -> None:
        def stop(*_: object) -> None:
            _PulsingScheduler.is_over = True
            service.stop()

        # Celery's own handler closes the connection amid whatever is being published, and can wait for long then.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)


def _tell_absence(error: Exception, interval_seconds: float) -> None:
    _log.warning("broker.unavailable", error=type(error).__name__, next_try_seconds=interval_seconds)


def _at(host: str, place: str, settings: Settings) -> Settings:
    """The settings of a service on this machine alone: links lead to where it listens, unless it was told otherwise."""
    is_here = host == "localhost" or (host.replace(".", "").isdigit() and host.startswith("127.")) or host == "::1"
    is_told = settings.public_url != DEFAULT_PUBLIC_URL
    return settings if is_told or not is_here else replace(settings, public_url=f"http://{place}")


def _refuse_taken(host: str, port: int, setting: str = "") -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            way = setting or f"--port (make run PORT={port + 1})"
            hint = f"another process has it, or choose another with {way}"
            raise click.ClickException(f"Cannot listen on {host}:{port} ({error.strerror}): {hint}.") from None


def _development_key(app: Flask, settings: Settings) -> str | None:
    """The key of a new development client, on the first start with SQLite; None when there are clients already."""
    if not settings.database_url.startswith("sqlite"):
        return None
    with house.parts(app).sessions.begin() as session:
        if any(clients.everyone(session)):
            return None
        audit.record(session, OPERATOR, "client.created", DEVELOPMENT_CLIENT, scopes=["*"], rate_limit=None)
        return clients.create(session, DEVELOPMENT_CLIENT, ["*"])[1]


def _greet(url: str, settings: Settings, api_key: str | None) -> None:
    lines = [f"email-service at {url}", f"  API documentation   {url}/docs"]
    if settings.mail_mode is MailMode.CAPTURE:
        lines.append(f"  captured mail       {url}/inbox   (no MAIL_SERVER is set, so nothing is really sent)")
    elif settings.mail_mode is MailMode.SMTP:
        ways = ", ".join(f"{route.server}:{route.port}" for route in settings.mail_routes)
        lines.append(f"  mail leaves through {ways}")
    else:
        lines.append("  mail is switched off (MAIL_ENABLED=false): messages are recorded, none is sent")
    if api_key:
        lines += [
            "",
            f"  API key of the client {DEVELOPMENT_CLIENT}, shown only now:",
            f"  {api_key}",
            "",
            "  Send a first message:",
            f"  curl -sS {url}/v1/messages {_json_headers(api_key)} -d '{_FIRST_MESSAGE}'",
        ]
    else:
        lines.append(f"  a new API key       {sys.argv[0]} client create NAME --scope '*'")
    print("\n".join(lines), flush=True)


def _json_headers(api_key: str) -> str:
    return f"-H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json'"
