"""The list of all settings: each one's type, the way its text is read, its default and whether it is a secret.

Knows no rule that needs two of them at once; those are in the modules beside this one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from email_service.kernel.addresses import Mailbox
from email_service.kernel.lanes import LANES
from email_service.settings import directory_rules, mail_values, values
from email_service.settings.dkim_keys import DkimKey, dkim_keys


class MailMode(StrEnum):
    """What happens to a message when it is due."""

    SMTP = "smtp"  # it is handed to the mail server
    CAPTURE = "capture"  # it is kept and shown, never sent
    OFF = "off"  # it is accepted and recorded, and stays


class Expose(StrEnum):
    """Which half of the API an instance serves."""

    ALL = "all"
    INTERNAL = "internal"  # calls that need an API key
    PUBLIC = "public"  # calls that anybody may make


class AccountDirectory(StrEnum):
    """Where it is known who exists."""

    REGISTRY = "registry"  # here, as the main app put it
    HTTP = "http"  # in the main app, which is asked
    NONE = "none"  # nowhere: callers name the address, and nobody can ask for a token publicly


class EmailQuotaResponse(StrEnum):
    """What is answered when too many mails were asked for publicly for one address."""

    LOUD = "loud"  # 429
    SILENT = "silent"  # what is answered otherwise, though nothing will be sent


class LogFormat(StrEnum):
    """How a log line looks."""

    JSON = "json"
    HUMAN = "human"


DEFAULT_PUBLIC_URL = "http://127.0.0.1:8000"

_token_ttl = values.duration(60, 30 * 86_400)


@dataclass(frozen=True, slots=True)
class Variable:
    """How one environment variable becomes a value. A default that can be called is made at the moment of reading."""

    parse: Callable[[str], Any]
    default: Any = None
    alias: str | None = None
    show: Callable[[Any], str] = repr


def env(
    parse: Callable[[str], Any], *, default: Any = None, alias: str | None = None, show: Callable[[Any], str] = repr
) -> dict[str, Variable]:
    """What marks a field of Settings as an environment variable."""
    return {"variable": Variable(parse, default, alias, show)}


def _hidden(value: object) -> str:
    return "'***'" if value else repr(value)


def _scheme_only(url: str | None) -> str:
    # A password may hide in the authority or in the query, so nothing after the scheme is shown.
    return repr(url if url is None else f"{url.partition('://')[0]}://***")


def _default_database_url() -> str:
    return f"sqlite:///{Path.cwd()}/var/email_service.db"


@dataclass(frozen=True, kw_only=True, repr=False)
class MailRoute:
    """One way out: a mail server, how to speak to it, and which mail it takes; from `MAIL_ROUTE_<NAME>_...`."""

    name: str
    server: str = field(metadata=env(values.host))
    port: int = field(metadata=env(values.whole(1, 65535)))
    use_tls: bool = field(metadata=env(values.switch))
    use_ssl: bool = field(metadata=env(values.switch))
    username: str | None = field(metadata=env(str, show=_hidden))
    password: str | None = field(metadata=env(str, show=_hidden))
    ca_file: Path | None = field(metadata=env(values.certificates))
    lanes: tuple[str, ...] = field(metadata=env(mail_values.lanes, default=LANES))
    sender_domains: tuple[str, ...] = field(metadata=env(values.many(mail_values.domain), default=()))  # empty: any
    weight: int = field(metadata=env(values.whole(0, 100), default=1))
    max_rate: float | None = field(metadata=env(mail_values.rate))  # messages a second; None: as fast as it goes
    connections: int = field(metadata=env(values.whole(1, 128)))

    def __repr__(self) -> str:
        return _shown(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """Everything an operator can choose. Made by `load` only, which has checked it."""

    database_url: str = field(metadata=env(values.database_url, default=_default_database_url, show=_scheme_only))
    redis_url: str | None = field(metadata=env(values.url("redis", "rediss"), show=_scheme_only))
    celery_broker_url: str | None = field(
        metadata=env(values.url("redis", "rediss", "amqp", "amqps"), show=_scheme_only)
    )
    secret_key: str = field(metadata=env(values.secret_key, show=_hidden))
    secret_key_fallbacks: tuple[str, ...] = field(
        metadata=env(values.many(values.secret_key), default=(), show=_hidden)
    )

    # The variable holds names; here are the routes they stand for, or the one that the plain variables describe.
    mail_routes: tuple[MailRoute, ...] = field(metadata=env(mail_values.route_names, default=()))
    mail_enabled: bool | None = field(metadata=env(values.switch))
    mail_server: str | None = field(metadata=env(values.host, alias="SMTP_SERVER"))
    mail_port: int = field(metadata=env(values.whole(1, 65535), alias="SMTP_PORT"))
    mail_use_tls: bool = field(metadata=env(values.switch))
    mail_use_ssl: bool = field(metadata=env(values.switch))
    mail_username: str | None = field(metadata=env(str, alias="SMTP_USERNAME", show=_hidden))
    mail_password: str | None = field(metadata=env(str, alias="SMTP_PASSWORD", show=_hidden))
    mail_ca_file: Path | None = field(metadata=env(values.certificates))
    mail_max_rate: float | None = field(metadata=env(mail_values.rate))  # messages a second
    mail_domain_rates: Mapping[str, float] = field(metadata=env(mail_values.domain_rates, default=MappingProxyType({})))
    mail_default_sender: str = field(metadata=env(values.mailbox, alias="SENDER_EMAIL"))
    mail_timeout: int = field(metadata=env(values.whole(1, 600), default=30))
    mail_max_emails: int = field(metadata=env(values.whole(1, 100_000), default=100))
    mail_retry_delays: tuple[int, ...] = field(
        metadata=env(values.delays, default=(2, 4, 8, 60, 300, 900, 3600, 7200, 14400, 28800))
    )
    delivery_threads: int = field(metadata=env(values.whole(1, 128), default=4))
    delivery_lease_seconds: int = field(metadata=env(values.whole(5, 3600), default=180))
    suppression_override_lanes: tuple[str, ...] = field(metadata=env(mail_values.lanes_or_none, default=("token",)))
    dkim_keys: tuple[DkimKey, ...] = field(metadata=env(dkim_keys, default=()))

    retention_days: int = field(metadata=env(values.whole(1, 3650), default=90))
    content_retention_days: int = field(metadata=env(values.whole(0, 3650), default=7))
    audit_retention_days: int = field(metadata=env(values.whole(1, 3650), default=365))

    account_directory: AccountDirectory = field(
        metadata=env(values.choice(AccountDirectory), default=AccountDirectory.REGISTRY)
    )
    account_directory_url: str | None = field(metadata=env(directory_rules.endpoint, show=_scheme_only))
    account_directory_secret: str | None = field(metadata=env(directory_rules.secret, show=_hidden))
    account_directory_private_hosts: tuple[str, ...] = field(metadata=env(values.many(values.host), default=()))
    token_ttl_password_reset: int = field(metadata=env(_token_ttl, default=3600))
    token_ttl_email_verification: int = field(metadata=env(_token_ttl, default=86_400))
    token_ttl_invitation: int = field(metadata=env(_token_ttl, default=7 * 86_400))
    token_ttl_magic_link: int = field(metadata=env(_token_ttl, default=900))
    token_ttl_login_code: int = field(metadata=env(_token_ttl, default=600))
    token_ttl_email_change: int = field(metadata=env(_token_ttl, default=3600))
    link_path_password_reset: str = field(metadata=env(values.path, default="/reset-password"))
    link_path_email_verification: str = field(metadata=env(values.path, default="/verify-email"))
    link_path_invitation: str = field(metadata=env(values.path, default="/accept-invitation"))
    link_path_magic_link: str = field(metadata=env(values.path, default="/magic-link"))
    link_path_email_change: str = field(metadata=env(values.path, default="/confirm-email-change"))

    token_issuer: str = field(metadata=env(values.line, default="email-service"))
    # None: the issuer.
    access_token_audience: str | None = field(metadata=env(values.line))
    # A retired signing key stays published for a day.
    access_token_lifetime: int = field(metadata=env(values.duration(60, 86_400), default=1800))
    session_idle_lifetime: int = field(metadata=env(values.duration(60, 366 * 86_400), default=7 * 86_400))
    session_lifetime: int = field(metadata=env(values.duration(60, 366 * 86_400), default=30 * 86_400))
    token_audience: str | None = field(metadata=env(values.line))  # None: the issuer
    token_email_quota_response: EmailQuotaResponse = field(
        metadata=env(values.choice(EmailQuotaResponse), default=EmailQuotaResponse.LOUD)
    )

    frontend_url: str | None = field(metadata=env(values.origin))  # None: links lead to the hosted pages
    public_url: str = field(metadata=env(values.origin, default=DEFAULT_PUBLIC_URL))
    brand_name: str = field(metadata=env(values.line, default="Example App"))
    brand_logo_url: str | None = field(metadata=env(values.url("https", "http")))
    brand_color: str = field(metadata=env(values.color, default="#1f4fd8"))
    brand_color_end: str | None = field(metadata=env(values.color))  # None: the header has one colour
    support_email: str | None = field(metadata=env(values.email))
    templates_dir: Path | None = field(metadata=env(values.folder))  # over the built-in templates

    expose: Expose = field(metadata=env(values.choice(Expose), default=Expose.ALL))
    trusted_proxy_count: int = field(metadata=env(values.whole(0, 5), default=0))
    trusted_hosts: tuple[str, ...] = field(metadata=env(values.many(values.served_host), default=()))
    cors_allowed_origins: tuple[str, ...] = field(metadata=env(values.many(values.origin), default=()))
    # 10 MB of attachments are 13.4 MB in base64; the rest is for the message around them.
    max_body_bytes: int = field(metadata=env(values.whole(1024, 1024**3), default=16 * 1024**2))
    public_rate_limit: str = field(metadata=env(values.rate_limit, default="100/minute"))
    public_issue_limit_per_ip: str = field(metadata=env(values.rate_limit, default="5/hour"))
    public_issue_limit_per_email: str = field(metadata=env(values.rate_limit, default="3/hour"))
    public_redeem_failure_limit: str = field(metadata=env(values.rate_limit, default="5/15 minutes"))
    api_rate_limit: str = field(metadata=env(values.rate_limit, default="6000/minute"))

    metrics_bind: tuple[str, int] | None = field(metadata=env(values.listener))
    log_level: str = field(metadata=env(values.log_level, default="INFO"))
    log_format: LogFormat = field(metadata=env(values.choice(LogFormat), default=LogFormat.JSON))
    otel_exporter_otlp_endpoint: str | None = field(metadata=env(values.url("https", "http"), show=_scheme_only))
    sentry_dsn: str | None = field(metadata=env(values.url("https", "http"), show=_scheme_only))

    # Derived from the settings above; no variables of their own.
    mail_mode: MailMode
    sender: Mailbox

    def __repr__(self) -> str:
        return _shown(self)


def _shown(declared: Settings | MailRoute) -> str:
    shown = (f"{each.name}={_show(each.metadata, getattr(declared, each.name))}" for each in fields(declared))
    return f"{type(declared).__name__}({', '.join(shown)})"


def _show(metadata: Any, value: object) -> str:
    variable = metadata.get("variable")
    return variable.show(value) if isinstance(variable, Variable) else repr(value)
