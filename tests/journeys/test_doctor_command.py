"""`email-service doctor` in front of real mail servers, a real DNS server and real mistakes."""

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from email_service.delivery.dkim import dns_record
from email_service.settings import DkimKey
from tests.journeys import zone
from tests.journeys.mailbag import smtp_settings
from tests.journeys.processes import House
from tests.journeys.zone import Zone

LOGIN = {"MAIL_USERNAME": "ada", "MAIL_PASSWORD": "pass-wort-7"}
GOOD = {"acme.example": ["v=spf1 a -all"], "_dmarc.acme.example": ["v=DMARC1; p=reject"]}


@pytest.fixture
def dns() -> Iterator[Callable[..., Zone]]:
    with ExitStack() as stack:
        yield lambda texts: stack.enter_context(zone.serving(texts))


@pytest.fixture
def mail_server(serve_mail, server_context, ca_file):
    """A mail server with STARTTLS and a login, and the settings that fit it."""
    server = serve_mail(tls="starttls", context=server_context, credentials=("ada", "pass-wort-7"))
    return server, smtp_settings(server, MAIL_USE_TLS="true", MAIL_CA_FILE=str(ca_file), **LOGIN)


def examine(installation: House, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and level and sentence of each finding by its check and what it is about."""
    asked = installation.command("doctor", "--json", *words)
    findings = json.loads(asked.stdout)["findings"]
    found = {
        " ".join(filter(None, [each["check"], each["about"]])): (each["level"], each["detail"]) for each in findings
    }
    assert (json.loads(asked.stdout)["status"] == "ok") is (asked.returncode == 0), asked.stderr
    return asked.returncode, found


def migrated(house, **settings: str) -> House:
    installation = house(**settings)
    assert installation.command("migrate").returncode == 0
    return installation


def test_a_whole_installation_is_well_and_nothing_is_sent(house, mail_server, dns, tmp_path):
    server, settings = mail_server
    path = tmp_path / "dkim.pem"
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    record = dns_record(DkimKey("acme.example", "e2026", path))
    known = dns({**GOOD, "e2026._domainkey.acme.example": [record]})
    settings |= {"PUBLIC_URL": "https://mail.acme.example"}
    installation = migrated(house, DKIM_KEYS=f"acme.example:e2026:{path}", **settings)
    asked = installation.command("doctor", "--dns-server", known.place)
    assert asked.returncode == 0, asked.stdout
    lines = asked.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    told = [line.split()[1].rstrip(":") for line in lines]
    checks = ["settings", "database", "migrations", "routes", "token_mail", "broker", "limits", "mail"]
    assert told == [*checks, "unsubscribing", "mail_server", "spf", "dkim", "dmarc"]
    assert [line.partition(" ")[0] for line in asked.stderr.splitlines()] == ["Checking"] * 5
    assert "took the login of ada, over TLS" in asked.stdout
    assert "pass-wort-7" not in asked.stdout + asked.stderr
    assert not [command for command in server.commands if command.startswith("MAIL")]
    assert server.commands[-1] == "QUIT"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"MAIL_PASSWORD": "another"}, "check MAIL_USERNAME and MAIL_PASSWORD"),
        ({"MAIL_CA_FILE": ""}, "name the authority of its certificate in MAIL_CA_FILE"),
        ({"MAIL_USE_TLS": "false", "MAIL_USE_SSL": "true"}, "take MAIL_USE_SSL away"),
        ({"MAIL_PORT": "1"}, "check MAIL_SERVER and MAIL_PORT"),
    ],
)
def test_what_a_mail_server_refuses_is_told_with_the_setting_to_change(house, mail_server, dns, changes, advice):
    """F9, T27"""
    installation = migrated(house, **{**mail_server[1], **changes})
    code, found = examine(installation, "--dns-server", dns(GOOD).place)
    level, sentence = found["mail_server smtp"]
    assert (code, level) == (1, "failure")
    assert advice in sentence
    assert "pass-wort-7" not in str(found)


def test_each_route_is_tried_and_its_own_setting_is_named(house, mail_server, serve_mail, dns):
    host, port = mail_server[0].address
    plain = serve_mail()
    routes = {
        "MAIL_ROUTES": "main,news-letter",
        "MAIL_DEFAULT_SENDER": "mail@acme.example",
        "MAIL_ROUTE_MAIN_SERVER": host,
        "MAIL_ROUTE_MAIN_PORT": str(plain.address[1]),
        "MAIL_ROUTE_NEWS_LETTER_SERVER": host,
        "MAIL_ROUTE_NEWS_LETTER_PORT": str(port),
        "MAIL_ROUTE_NEWS_LETTER_USE_TLS": "true",
        "MAIL_ROUTE_NEWS_LETTER_SENDER_DOMAINS": "news.acme.example",
    }
    code, found = examine(migrated(house, **routes), "--dns-server", dns(GOOD).place)
    assert code == 1
    assert found["mail_server main"][0] == "ok"
    assert "MAIL_ROUTE_NEWS_LETTER_CA_FILE" in found["mail_server news-letter"][1]
    assert found["spf news.acme.example"][0] == "failure"
    assert found["dmarc news.acme.example"][0] == "ok"
    assert found["dkim acme.example"][0] == "warning"


def test_a_dns_server_that_says_nothing_is_told_and_does_not_hold_up_for_long(house, mail_server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        code, found = examine(migrated(house, **mail_server[1]), "--dns-server", place)
    assert code == 1
    assert {found["spf acme.example"][0], found["dmarc acme.example"][0]} == {"failure"}
    assert "DNS does not answer" in found["spf acme.example"][1]


def test_without_a_mail_server_nobody_else_is_asked(house, dns):
    known = dns(GOOD)
    code, found = examine(migrated(house), "--dns-server", known.place)
    assert (code, found["mail"][0], known.asked) == (0, "warning", [])
    assert "MAIL_SERVER" in found["mail"][1]


def test_what_is_not_there_is_told_with_what_to_change(house):
    """F4, F5"""
    lost = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "REDIS_URL": "redis://127.0.0.1:1/1",
        "SECRET_KEY": "k" * 43,
    }
    code, found = examine(house(**lost))
    assert code == 1
    for name, setting in (("database", "DATABASE_URL"), ("broker", "CELERY_BROKER_URL"), ("limits", "REDIS_URL")):
        assert found[name][0] == "failure"
        assert setting in found[name][1]


def test_a_database_that_is_empty_is_told_with_what_to_run(house):
    """F15"""
    code, found = examine(house())
    assert (code, found["database"][0], found["migrations"][0]) == (1, "ok", "failure")
    assert "email-service migrate" in found["migrations"][1]


def test_each_mistake_in_the_settings_is_a_finding(house):
    code, found = examine(house(MAIL_PORT="many", LOG_FORMAT="xml"))
    assert (code, set(found)) == (1, {"settings MAIL_PORT", "settings LOG_FORMAT"})
    refused = house().command("doctor", "--dns-server", "no server")
    assert (refused.returncode, "--dns-server" in refused.stderr) == (2, True)


@pytest.fixture
def ending(serve_mail, authority, ca_file):
    """A mail server whose certificate ends then, and the settings that fit it."""

    def serve(ends_at: datetime, tls: str) -> dict[str, str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1", not_after=ends_at).configure_cert(context)
        use = {"starttls": "MAIL_USE_TLS", "implicit": "MAIL_USE_SSL"}[tls]
        return smtp_settings(serve_mail(tls=tls, context=context), MAIL_CA_FILE=str(ca_file), **{use: "true"})

    return serve


@pytest.mark.parametrize(("days", "tls"), [(20, "starttls"), (20, "implicit"), (22, "starttls")])
def test_a_certificate_that_ends_within_three_weeks_is_told_while_it_is_still_good(house, ending, dns, days, tls):
    """F9"""
    ends_at = datetime.now(UTC) + timedelta(days=days)
    code, found = examine(migrated(house, **ending(ends_at, tls)), "--dns-server", dns(GOOD).place)
    assert (code, found["mail_server smtp"][0]) == (0, "warning" if days < 21 else "ok")
    assert (f"{ends_at:%Y-%m-%d}" in found["mail_server smtp"][1]) is (days < 21)


def test_mail_without_its_link_to_unsubscribe_is_told_with_the_setting_to_change(house, serve_mail, dns):
    """T33"""
    settings = smtp_settings(serve_mail(), PUBLIC_URL="http://mail.acme.example")
    code, found = examine(migrated(house, **settings), "--dns-server", dns(GOOD).place)
    level, sentence = found["unsubscribing"]
    assert (code, level) == (0, "warning")
    assert {"notification", "onboarding", "PUBLIC_URL", "http://mail.acme.example"} <= set(
        re.split(r"[,:]? ", sentence)
    )
    captured = examine(migrated(house))[1]
    assert "unsubscribing" not in captured
