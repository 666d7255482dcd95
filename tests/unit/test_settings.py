"""Which environments the service starts with, and which it refuses with the name of every wrong variable."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import trustme

from email_service.kernel.addresses import Mailbox
from email_service.kernel.errors import SettingsError
from email_service.settings import Expose, LogFormat, MailMode, Settings, load, resource

KEY = "k" * 32
POSTGRES = {"DATABASE_URL": "postgresql://user:pa%40ss@db:5432/mail", "SECRET_KEY": KEY}
SMTP = {"MAIL_SERVER": "smtp.acme.example", "MAIL_DEFAULT_SENDER": "mail@acme.example"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(**environ: str) -> Settings:
    return load(environ, env_file=None)


def mistakes(**environ: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    faults = caught.value.faults
    assert caught.value.detail.split("\n") == [f"{fault.pointer}: {fault.message}" for fault in faults]
    named = {fault.pointer: fault.message for fault in faults}
    assert len(named) == len(faults), "one mistake for each variable"
    return named


def test_an_empty_environment_captures_mail_into_sqlite_below_the_current_folder(tmp_path):
    settings = read()
    assert settings.database_url == f"sqlite:///{tmp_path}/var/email_service.db"
    assert settings.mail_mode is MailMode.CAPTURE
    assert settings.sender == Mailbox("no-reply@localhost.localdomain", "")
    assert settings.expose is Expose.ALL
    assert settings.log_format is LogFormat.JSON
    assert (settings.redis_url, settings.celery_broker_url) == (None, None)


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        read().mail_port = 1  # type: ignore[misc]


def test_the_process_environment_is_read_when_none_is_given(monkeypatch):
    monkeypatch.setenv("BRAND_NAME", "Acme")
    assert load(env_file=None).brand_name == "Acme"


def test_a_given_environment_stands_alone(monkeypatch):
    monkeypatch.setenv("BRAND_NAME", "Acme")
    assert read().brand_name == "Example App"


def test_the_env_file_fills_in_what_the_environment_leaves_out(tmp_path):
    (tmp_path / ".env").write_text('BRAND_NAME="From file"\nLOG_LEVEL=debug\nMAIL_SERVER=smtp.acme.example\n')
    settings = load({"LOG_LEVEL": "warning", "MAIL_SERVER": ""})
    assert (settings.brand_name, settings.log_level, settings.mail_mode) == ("From file", "WARNING", MailMode.CAPTURE)


def test_an_env_file_that_is_no_text_is_a_mistake(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        load({})


def test_an_empty_value_means_unset():
    assert read(MAIL_PORT="", MAIL_ENABLED=" ", SECRET_KEY="", REDIS_URL="").mail_port == 587


def test_a_secret_can_come_from_a_file(tmp_path):
    (tmp_path / "password").write_text("s3cret with space \n")
    settings = read(**SMTP, MAIL_USERNAME="ada", SMTP_PASSWORD_FILE=str(tmp_path / "password"))
    assert settings.mail_password == "s3cret with space "


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_secret_file_that_cannot_be_read_is_a_mistake(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    assert "SECRET_KEY_FILE" in mistakes(SECRET_KEY_FILE=str(tmp_path / "key"))["SECRET_KEY"]


def test_a_value_and_its_file_together_are_a_mistake(tmp_path):
    (tmp_path / "key").write_text(KEY)
    assert "only one" in mistakes(SECRET_KEY=KEY, SECRET_KEY_FILE=str(tmp_path / "key"))["SECRET_KEY"]


def test_every_mistake_is_named_at_once():
    wrong = mistakes(
        DATABASE_URL="mysql://db/mail",
        REDIS_URL="http://cache",
        CELERY_BROKER_URL="sqs://queue",
        SECRET_KEY_FALLBACKS=f"{KEY},short",
        MAIL_ENABLED="perhaps",
        MAIL_SERVER="smtp://acme.example:25",
        SMTP_PORT="70000",
        MAIL_TIMEOUT="-1",
        MAIL_CA_FILE="/nowhere/ca.pem",
        MAIL_MAX_EMAILS="many",
        MAIL_RETRY_DELAYS="2s,soon",
        DELIVERY_THREADS="129",
        FRONTEND_URL="https://app.acme.example/path",
        PUBLIC_URL="mail.acme.example",
        BRAND_NAME="two\nlines",
        BRAND_LOGO_URL="javascript:alert(1)",
        BRAND_COLOR="red",
        SUPPORT_EMAIL="nobody",
        EXPOSE="nothing",
        TRUSTED_PROXY_COUNT="6",
        TRUSTED_HOSTS="https://acme.example",
        CORS_ALLOWED_ORIGINS="*",
        MAX_BODY_BYTES="1",
        PUBLIC_RATE_LIMIT="often",
        API_RATE_LIMIT="6000",
        LOG_LEVEL="loud",
        LOG_FORMAT="xml",
        METRICS_BIND="9464",
        MAIL_MAX_RATE="fast",
        MAIL_DOMAIN_RATES="gmail.com",
        MAIL_ROUTES="SES",
        SUPPRESSION_OVERRIDE_LANES="all",
        DKIM_KEYS="acme.example",
        RETENTION_DAYS="0",
        CONTENT_RETENTION_DAYS="week",
        AUDIT_RETENTION_DAYS="3651",
    )
    assert len(wrong) == 37
    assert wrong["SMTP_PORT"] == "write a whole number from 1 to 65535."


@pytest.mark.parametrize(
    ("text", "place"),
    [("0.0.0.0:9464", ("0.0.0.0", 9464)), ("localhost:1", ("localhost", 1)), ("[::1]:65535", ("::1", 65535))],
)
def test_figures_are_told_at_an_address_and_a_port(text, place):
    assert read(METRICS_BIND=text).metrics_bind == place


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "0.0.0.0", "0.0.0.0:", "0.0.0.0:0", "0.0.0.0:65536", "::1:9464", "a b:1"]
)
def test_a_place_to_tell_figures_at_has_both(text):
    assert "METRICS_BIND" in mistakes(METRICS_BIND=text)


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_certificates_is_a_mistake(tmp_path, content):
    (tmp_path / "ca.pem").write_text(content)
    assert "certificates" in mistakes(MAIL_CA_FILE=str(tmp_path / "ca.pem"))["MAIL_CA_FILE"]


def test_a_file_with_a_certificate_is_taken(tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    assert read(MAIL_CA_FILE=str(tmp_path / "ca.pem")).mail_ca_file == tmp_path / "ca.pem"


def test_no_mistake_repeats_what_was_written():
    secret = "hunter2-hunter2"
    wrong = mistakes(SECRET_KEY=secret, DATABASE_URL=f"mysql://u:{secret}@db/x", REDIS_URL=f"http://:{secret}@cache")
    assert secret not in str(wrong)


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("postgres://u:p%40w@db/mail", "postgresql+psycopg://u:p%40w@db/mail"),
        ("postgresql://u@db/mail?sslmode=require", "postgresql+psycopg://u@db/mail?sslmode=require"),
        ("postgresql+psycopg://u@db/mail", "postgresql+psycopg://u@db/mail"),
        ("sqlite:////data/mail.db", "sqlite:////data/mail.db"),
    ],
)
def test_database_urls_are_brought_to_one_form(written, used):
    assert read(DATABASE_URL=written, SECRET_KEY=KEY).database_url == used


@pytest.mark.parametrize(
    "written", ["sqlite://", "sqlite:///:memory:", "postgresql+psycopg2://db/x", "mail.db", "a://["]
)
def test_databases_that_cannot_keep_messages_are_refused(written):
    assert "DATABASE_URL" in mistakes(DATABASE_URL=written)


def test_a_relative_sqlite_path_starts_at_the_current_folder(tmp_path):
    assert read(DATABASE_URL="sqlite:///data/mail.db").database_url == f"sqlite:///{tmp_path}/data/mail.db"


def test_a_secret_key_is_made_once_beside_the_database_and_readable_by_its_owner_only(tmp_path):
    first, second = read().secret_key, read().secret_key
    kept = tmp_path / "var" / "secret-key"
    assert first == second == kept.read_text().strip()
    assert len(first) == 43
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(kept.parent.iterdir()) == [kept]


def test_starts_at_the_same_moment_share_one_secret_key(tmp_path):
    together = Barrier(8)

    def start(folder: Path) -> str:
        together.wait(timeout=30)
        return read(DATABASE_URL=f"sqlite:///{folder}/mail.db").secret_key

    with ThreadPoolExecutor(8) as threads:
        for attempt in range(20):
            assert len(set(threads.map(start, [tmp_path / str(attempt)] * 8))) == 1


def test_a_broken_key_file_is_a_mistake_and_is_left_alone(tmp_path):
    (tmp_path / "secret-key").write_text("short")
    assert "secret-key" in mistakes(DATABASE_URL="sqlite:///mail.db")["SECRET_KEY"]
    assert (tmp_path / "secret-key").read_text() == "short"


def test_a_key_that_cannot_be_kept_is_a_mistake(tmp_path):
    (tmp_path / "var").write_text("a file where the folder should be")
    assert "SECRET_KEY" in mistakes()


def test_postgresql_needs_a_secret_key_and_the_mistake_says_how_to_make_one():
    wrong = mistakes(DATABASE_URL=POSTGRES["DATABASE_URL"])
    assert "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'" in wrong["SECRET_KEY"]


def test_a_short_secret_key_is_a_mistake():
    assert "32 characters" in mistakes(SECRET_KEY="k" * 31)["SECRET_KEY"]


def test_lists_are_separated_by_commas():
    settings = read(
        SECRET_KEY_FALLBACKS=f"{KEY}, {KEY}x,",
        TRUSTED_HOSTS="Acme.example, .acme.example",
        CORS_ALLOWED_ORIGINS="https://APP.acme.example:443/,http://localhost:3000",
        MAIL_RETRY_DELAYS="1s, 2m,3h,1d",
    )
    assert settings.secret_key_fallbacks == (KEY, KEY + "x")
    assert settings.trusted_hosts == ("acme.example", ".acme.example")
    assert settings.cors_allowed_origins == ("https://app.acme.example", "http://localhost:3000")
    assert settings.mail_retry_delays == (1, 120, 10800, 86400)


def test_no_secret_is_shown():
    """T27"""
    hidden = {name: f"hidden-{name}-{KEY}" for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "MAIL_PASSWORD")}
    urls = {
        "DATABASE_URL": "postgresql://user:hidden1@db/mail?password=hidden2",
        "REDIS_URL": "rediss://:hidden3@cache/0",
        "CELERY_BROKER_URL": "amqp://guest:hidden4@rabbit//",
    }
    settings = read(**SMTP, **hidden, **urls, MAIL_USERNAME="hidden5@acme.example")
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "hidden" not in shown
        assert "smtp.acme.example" in shown


def test_content_is_kept_no_longer_than_the_message():
    assert read(RETENTION_DAYS="7").content_retention_days == 7
    assert read(RETENTION_DAYS="1", CONTENT_RETENTION_DAYS="0").content_retention_days == 0
    assert "at most 6" in mistakes(RETENTION_DAYS="6")["CONTENT_RETENTION_DAYS"]
    assert "at most 90" in mistakes(CONTENT_RETENTION_DAYS="91")["CONTENT_RETENTION_DAYS"]


@pytest.mark.parametrize(
    ("written", "lanes"), [("bulk, Token", ("token", "bulk")), ("none", ()), ("", ("token",)), ("bulk", ("bulk",))]
)
def test_the_lanes_in_which_a_suppression_can_be_overridden(written, lanes):
    assert read(SUPPRESSION_OVERRIDE_LANES=written).suppression_override_lanes == lanes


def test_resources_are_found_in_a_checkout():
    root = Path(__file__).resolve().parents[2]
    assert resource("templates") == root / "templates"
    assert resource("migrations") == root / "migrations"
