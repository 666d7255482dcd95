"""The composition root: builds the application from its settings. Nothing else picks concrete classes."""

from flask import Flask, Response
from flask_cors import CORS
from sqlalchemy.orm import sessionmaker
from werkzeug.middleware.proxy_fix import ProxyFix

from email_service import engine, extensions
from email_service.accounts import routes as accounts
from email_service.accounts.directory import Directory, Nobody, Registry
from email_service.accounts.http_directory import HttpDirectory
from email_service.accounts.service import Followers
from email_service.audit import routes as audit
from email_service.audit.quota_hits import QuotaHits
from email_service.delivery import routes as explanations
from email_service.delivery.circumstances import Ways
from email_service.docs_page import routes as docs_page
from email_service.hosted_pages import routes as hosted_pages
from email_service.hosted_pages import unsubscribe_routes
from email_service.hosted_pages.drawing import Pages
from email_service.inbox import routes as inbox
from email_service.kernel import orm
from email_service.kernel.crypto import Blinder, Sealer
from email_service.kernel.derivation import Deriver
from email_service.kernel.outbound import Target
from email_service.messages import routes as messages
from email_service.messages.service import Intake
from email_service.messages.submission import Mailbox
from email_service.rendering import catalog
from email_service.rendering import routes as templates
from email_service.rendering.files import Files
from email_service.rendering.renderer import Renderer
from email_service.rendering.variables import Brand
from email_service.sessions import public_routes as public_sessions
from email_service.sessions import routes as session_routes
from email_service.sessions import service as user_sessions
from email_service.sessions.service import Desk, Lifetimes
from email_service.settings import AccountDirectory, Expose, MailMode, Settings, load, resource
from email_service.signing import routes as signing
from email_service.signing.service import Signer
from email_service.suppressions import routes as suppressions
from email_service.suppressions.links import Links
from email_service.tokens import public_routes as public_tokens
from email_service.tokens import routes as token_routes
from email_service.tokens import service as tokens
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.service import Office, Terms
from email_service.web import access, bodies, context, health, metrics, problems

# A request waits this long for the store of the limits before it is counted in this process instead.
# The number of threads bounds its connections already; RESP2 is what every Redis and every proxy speaks.
_REDIS_OPTIONS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "max_connections": 2**16, "protocol": 2}
# A server that went without a word must not keep a thread for the minutes that TCP would wait.
_POSTGRESQL_OPTIONS = {"connect_timeout": 5, "tcp_user_timeout": 20_000, "keepalives_idle": 20}
_DOCUMENTATION = {
    "API_TITLE": "Email service",
    "API_VERSION": "v1",
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
}
_INTERNAL_ROOMS = (messages, explanations, templates, suppressions, accounts, token_routes, session_routes, audit)
_PUBLIC_ROOMS = (public_tokens, public_sessions)
# What a page of another origin may read of an answer, besides its body.
_TOLD_HEADERS = ["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"]

_SECURITY_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. With no settings given, they are read from the environment and `.env`."""
    settings = settings or load()
    app = context.SyncFlask("email_service", static_folder=None)
    app.json = bodies.StrictJSONProvider(app)
    # A subject or an address that begins with a slash must not be led to the one without it.
    app.url_map.merge_slashes = False
    app.config.from_mapping(_flask_config(settings))
    context.install(app)
    access.install(app)
    _bind_extensions(app, settings)
    app.extensions["email_service"] = _build_parts(app, settings)
    problems.install(app)
    _register(app, settings)
    _harden(app, settings)
    return app


def find_templates(settings: Settings) -> Files:
    """What mail is made from: the built-in templates, and over them those of TEMPLATES_DIR."""
    return Files(resource("templates") / "email", settings.templates_dir)


def create_brand(settings: Settings) -> Brand:
    """Who the mail comes from, in the reader's eyes."""
    return Brand(
        name=settings.brand_name,
        logo_url=settings.brand_logo_url,
        color=settings.brand_color,
        color_end=settings.brand_color_end,
        support_email=settings.support_email,
        frontend_url=settings.frontend_url or settings.public_url,
    )


def _flask_config(settings: Settings) -> dict[str, object]:
    return {
        **_DOCUMENTATION,
        "SECRET_KEY": settings.secret_key,
        "MAX_CONTENT_LENGTH": settings.max_body_bytes,
        "TRUSTED_HOSTS": list(settings.trusted_hosts) or None,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        # An error's text ends up in the log, where no name, tag or reference of anybody belongs. The number of threads
        # bounds the connections already: a pool with a bound of its own would make one of them wait in vain, or end
        # connections that the next request makes again, each of them a process of PostgreSQL's.
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "hide_parameters": True,
            "pool_size": 0,  # as many as are used at the same time
            "pool_use_lifo": True,  # those that were used last know the statements already
            "json_deserializer": orm.read_json,
            "connect_args": {} if settings.database_url.startswith("sqlite") else _POSTGRESQL_OPTIONS,
        },
        "RATELIMIT_STORAGE_URI": f"{extensions.COUNTS_TOGETHER}{settings.redis_url}"
        if settings.redis_url
        else extensions.COUNTS_IN_PROCESS,
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
        CORS(
            app,
            resources=r"/public/*",
            origins=list(settings.cors_allowed_origins),
            expose_headers=_TOLD_HEADERS,
            send_wildcard=False,
        )


def _build_parts(app: Flask, settings: Settings) -> context.Parts:
    with app.app_context():
        sessions = sessionmaker(extensions.db.engine, expire_on_commit=False)
        glances = sessionmaker(orm.autocommitting(extensions.db.engine), expire_on_commit=False)
    files = find_templates(settings)
    known = catalog.load(files)
    intake = Intake(
        catalog=known,
        sealer=Sealer(settings.secret_key, settings.secret_key_fallbacks),
        default_sender=Mailbox(email=settings.sender.email, name=settings.sender.name),
        is_mail_off=settings.mail_mode is MailMode.OFF,
        override_lanes=settings.suppression_override_lanes,
    )
    parts = context.Parts(sessions, glances, context.wake_nobody)
    parts.note_breach = QuotaHits().note
    table = engine.make_route_table(settings)
    probes = engine.make_probes(settings, table)
    ways = Ways(table=table, catalog=known, is_mail_off=intake.is_mail_off)
    parts.add(settings, known, Renderer(files, known, create_brand(settings)), intake, ways, probes)
    signer = Signer(sessions, intake.sealer, settings.token_issuer)
    parts.add(signer, *_build_public_parts(settings, intake, signer))
    parts.figures.expect(engine.foresee(known, table))
    parts.add(Blinder(settings.secret_key), _make_links(settings), metrics.gather(parts.figures, glances, probes))
    parts.add(Pages(resource("templates") / "pages", settings.brand_name, settings.support_email))
    return parts


def _make_links(settings: Settings) -> Links:
    page = settings.public_url + unsubscribe_routes.UNSUBSCRIBE
    return Links(page, settings.secret_key, settings.secret_key_fallbacks)


def _build_public_parts(settings: Settings, intake: Intake, signer: Signer) -> tuple[object, ...]:
    """What tokens and sessions need, and who hears of an account's changes."""
    deriver = Deriver(settings.secret_key, settings.secret_key_fallbacks)
    office = Office(intake=intake, deriver=deriver, directory=_choose_directory(settings), terms=_find_terms(settings))
    followers = Followers(
        revoke=(tokens.revoke_all, user_sessions.revoke_all),
        erase={"tokens": tokens.erase, "sessions": user_sessions.erase},
    )
    return deriver, office, _build_desk(settings, signer, office), followers


def _choose_directory(settings: Settings) -> Directory:
    if settings.account_directory is AccountDirectory.HTTP:
        url, secret = settings.account_directory_url, settings.account_directory_secret
        assert url is not None
        assert secret is not None
        return HttpDirectory(Target(url=url, private_hosts=settings.account_directory_private_hosts), secret)
    return Registry() if settings.account_directory is AccountDirectory.REGISTRY else Nobody()


def _build_desk(settings: Settings, signer: Signer, office: Office) -> Desk:
    """What sessions need; without a directory here, whoever starts one is believed that its subject exists."""
    return Desk(
        signer=signer,
        deriver=office.deriver,
        directory=office.directory if settings.account_directory is AccountDirectory.REGISTRY else None,
        audience=settings.access_token_audience or settings.token_issuer,
        lifetimes=Lifetimes(
            access_seconds=settings.access_token_lifetime,
            idle_seconds=settings.session_idle_lifetime,
            session_seconds=settings.session_lifetime,
        ),
    )


def _find_terms(settings: Settings) -> dict[Purpose, Terms]:
    """The lifetime and the page of each purpose's tokens."""
    found = {}
    for purpose, rule in RULES.items():
        page = _find_page(settings, purpose) if rule.has_link else None
        found[purpose] = Terms(getattr(settings, f"token_ttl_{purpose}"), page)
    return found


def _find_page(settings: Settings, purpose: Purpose) -> str:
    """Where a link leads: from settings alone, never from what a request says of its host (T17)."""
    if settings.frontend_url is None:
        return settings.public_url + hosted_pages.path_of(purpose)
    path: str = getattr(settings, f"link_path_{purpose}")
    return settings.frontend_url + path


def _register(app: Flask, settings: Settings) -> None:
    app.register_blueprint(health.blueprint)
    if settings.expose is not Expose.INTERNAL:
        app.register_blueprint(signing.blueprint)
        app.register_blueprint(hosted_pages.blueprint)
        app.register_blueprint(unsubscribe_routes.blueprint)
    if settings.expose is Expose.PUBLIC:
        # Without a description and its page: those are for whoever operates the service.
        for room in _PUBLIC_ROOMS:
            app.register_blueprint(room.blueprint)
        return
    extensions.api.init_app(app)
    extensions.api.spec.components.security_scheme("ApiKey", {"type": "http", "scheme": "bearer"})
    for room in (*_INTERNAL_ROOMS, *(_PUBLIC_ROOMS if settings.expose is Expose.ALL else ())):
        extensions.api.register_blueprint(room.blueprint)
    app.register_blueprint(docs_page.blueprint)
    app.register_blueprint(metrics.blueprint)
    if settings.mail_mode is MailMode.CAPTURE:
        app.register_blueprint(inbox.blueprint)


def _harden(app: Flask, settings: Settings) -> None:
    app.after_request(_add_security_headers)
    if settings.trusted_proxy_count:
        count = settings.trusted_proxy_count
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]


def _add_security_headers(response: Response) -> Response:
    present = {name.lower() for name, _ in response.headers}
    response.headers.extend([each for each in _SECURITY_HEADERS if each[0].lower() not in present])
    return response
