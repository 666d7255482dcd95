"""The composition root: builds the application from its settings. Nothing else picks concrete classes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from flask import Flask, Response
from flask_cors import CORS
from flask_mail import _Mail
from sqlalchemy.orm import sessionmaker
from werkzeug.middleware.proxy_fix import ProxyFix

from email_service import extensions
from email_service.delivery import outbox
from email_service.delivery.breaker import Breaker
from email_service.delivery.capture_transport import CaptureTransport
from email_service.delivery.drain import Drain
from email_service.delivery.runner import LocalRunner
from email_service.delivery.smtp_transport import SmtpLimits, SmtpTransport
from email_service.delivery.transport import Transport
from email_service.delivery.worker import Worker
from email_service.docs_page import routes as docs_page
from email_service.idempotency import service as idempotency
from email_service.inbox import routes as inbox
from email_service.kernel import logs, orm
from email_service.kernel.crypto import Sealer
from email_service.messages import routes as messages
from email_service.messages.service import LANES, Intake
from email_service.messages.submission import Mailbox
from email_service.rendering import catalog
from email_service.rendering import routes as templates
from email_service.rendering.renderer import Renderer
from email_service.rendering.variables import Brand
from email_service.settings import Expose, LogFormat, MailMode, Settings, load, resource
from email_service.web import access, bodies, context, health, problems

BREAKER_SECONDS = 30.0
LEASE_SHARE = 0.7  # of a lease, for the attempt; the rest is for what comes before and after it
# A request waits this long for the store of the limits before it is counted in this process instead.
_REDIS_OPTIONS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
_DOCUMENTATION = {
    "API_TITLE": "Email service",
    "API_VERSION": "v1",
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
}


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. With no settings given, they are read from the environment and `.env`."""
    settings = settings or load()
    app = Flask("email_service", static_folder=None)
    app.json = bodies.StrictJSONProvider(app)
    app.config.from_mapping(_flask_config(settings))
    context.install(app)
    access.install(app)
    _bind_extensions(app, settings)
    app.extensions["email_service"] = _build_parts(app, settings)
    problems.install(app)
    _register(app, settings)
    _harden(app, settings)
    return app


def create_runner(app: Flask) -> LocalRunner:
    """Delivery in this process. Whoever starts it also stops it; accepts wake it from now on."""
    parts = context.parts_of(app)
    settings = parts.get(Settings)
    runner = LocalRunner(create_drain_factory(app), LANES, settings.delivery_threads, create_tidy(app))
    parts.wake = runner.wake
    return runner


def create_drain_factory(app: Flask) -> Callable[[Sequence[str]], Drain]:
    """How a thread gets its own drain; all drains of one process share one breaker."""
    parts = context.parts_of(app)
    settings, intake = parts.get(Settings), parts.get(Intake)
    breaker = Breaker(BREAKER_SECONDS)

    def make(lanes: Sequence[str]) -> Drain:
        worker = Worker(
            sessions=parts.sessions,
            catalog=intake.catalog,
            renderer=parts.get(Renderer),
            sealer=intake.sealer,
            transport=_make_transport(app, settings, parts),
            default_sender=intake.default_sender,
            retry_delays=settings.mail_retry_delays,
        )
        # While mail is switched off, what was queued before stays where it is.
        served = () if intake.is_mail_off else lanes
        return Drain(
            worker=worker,
            breaker=breaker,
            lanes=served,
            lease_seconds=settings.delivery_lease_seconds,
            attempt_seconds=_attempt_seconds(settings),
        )

    return make


def create_tidy(app: Flask) -> Callable[[], int]:
    """The drain that forgets what protects nobody any more, in small batches; it says how much that was."""
    parts = context.parts_of(app)

    def tidy() -> int:
        forgotten = 0
        while True:
            with parts.sessions.begin() as session:
                batch = idempotency.forget_old(session)
            forgotten += batch
            if not batch:
                return forgotten

    return tidy


def configure_logs(settings: Settings) -> None:
    """Log what this process does the way the settings ask for."""
    logs.configure(level=settings.log_level, is_human=settings.log_format is LogFormat.HUMAN)


def create_brand(settings: Settings) -> Brand:
    """Who the mail comes from, in the reader's eyes."""
    return Brand(
        name=settings.brand_name,
        logo_url=settings.brand_logo_url,
        color=settings.brand_color,
        support_email=settings.support_email,
        frontend_url=settings.frontend_url,
    )


def _flask_config(settings: Settings) -> dict[str, object]:
    return {
        **_DOCUMENTATION,
        "SECRET_KEY": settings.secret_key,
        "MAX_CONTENT_LENGTH": settings.max_body_bytes,
        "TRUSTED_HOSTS": list(settings.trusted_hosts) or None,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        # An error's text ends up in the log, where no name, tag or reference of anybody belongs. The number of threads
        # bounds the connections already; a pool with a bound of its own would only make one of them wait in vain.
        "SQLALCHEMY_ENGINE_OPTIONS": {"hide_parameters": True, "max_overflow": -1},
        "RATELIMIT_STORAGE_URI": settings.redis_url or "memory://",
        "RATELIMIT_STORAGE_OPTIONS": _REDIS_OPTIONS if settings.redis_url else {},
        "MAIL_SERVER": settings.mail_server or "127.0.0.1",
        "MAIL_PORT": settings.mail_port,
        "MAIL_USE_TLS": settings.mail_use_tls,
        "MAIL_USE_SSL": settings.mail_use_ssl,
        "MAIL_USERNAME": settings.mail_username,
        "MAIL_PASSWORD": settings.mail_password,
        "MAIL_DEFAULT_SENDER": settings.mail_default_sender,
        "MAIL_MAX_EMAILS": settings.mail_max_emails,
    }


def _bind_extensions(app: Flask, settings: Settings) -> None:
    extensions.db.init_app(app)
    with app.app_context():
        orm.prepare_engine(extensions.db.engine)
    extensions.migrate.init_app(app, extensions.db, directory=str(resource("migrations")), render_as_batch=True)
    extensions.limiter.init_app(app)
    extensions.mail.init_app(app)
    if settings.cors_allowed_origins:
        CORS(app, resources=r"/public/*", origins=list(settings.cors_allowed_origins), send_wildcard=False)


def _build_parts(app: Flask, settings: Settings) -> context.Parts:
    with app.app_context():
        sessions = sessionmaker(extensions.db.engine, expire_on_commit=False)
        glances = sessionmaker(orm.autocommitting(extensions.db.engine), expire_on_commit=False)
    folder = resource("templates") / "email"
    known = catalog.load(folder)
    intake = Intake(
        catalog=known,
        sealer=Sealer(settings.secret_key, settings.secret_key_fallbacks),
        default_sender=Mailbox(email=settings.sender.email, name=settings.sender.name),
        is_mail_off=settings.mail_mode is MailMode.OFF,
    )
    parts = context.Parts(sessions, glances, context.wake_nobody)
    broker = settings.celery_broker_url
    probes = health.Probes(outbox.oldest_due_seconds, partial(health.answers, broker) if broker else None)
    parts.add(settings, known, Renderer(folder, known, create_brand(settings)), intake, probes)
    return parts


def _register(app: Flask, settings: Settings) -> None:
    app.register_blueprint(health.blueprint)
    if settings.expose is Expose.PUBLIC:
        return
    extensions.internal_api.init_app(app)
    extensions.internal_api.spec.components.security_scheme("ApiKey", {"type": "http", "scheme": "bearer"})
    for blueprint in (messages.blueprint, templates.blueprint):
        extensions.internal_api.register_blueprint(blueprint)
    app.register_blueprint(docs_page.blueprint)
    if settings.mail_mode is MailMode.CAPTURE:
        app.register_blueprint(inbox.blueprint)


def _harden(app: Flask, settings: Settings) -> None:
    app.after_request(_add_security_headers)
    if settings.trusted_proxy_count:
        count = settings.trusted_proxy_count
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]


def _add_security_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
    return response


def _make_transport(app: Flask, settings: Settings, parts: context.Parts) -> Transport:
    if settings.mail_mode is not MailMode.SMTP:
        return CaptureTransport(parts.sessions)
    limits = SmtpLimits(
        timeout_seconds=settings.mail_timeout,
        connection_max_messages=settings.mail_max_emails,
        attempt_max_seconds=_attempt_seconds(settings),
    )
    return SmtpTransport(cast("_Mail", app.extensions["mail"]), limits, settings.mail_ca_file)


def _attempt_seconds(settings: Settings) -> float:
    # An attempt that outlived its lease would meet the next worker's attempt at the same message.
    return min(SmtpLimits().attempt_max_seconds, settings.delivery_lease_seconds * LEASE_SHARE)
