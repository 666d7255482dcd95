"""Which ways out follow from MAIL_ROUTES and the variables of each route, and how fast mail may leave by them."""

import re
from pathlib import Path

import pytest
import trustme
from documents import Page

from email_service.kernel.errors import SettingsError
from email_service.kernel.lanes import LANES
from email_service.settings import MailMode, MailRoute, Settings, load, mail_routes

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / ".env.example"
KEY = "k" * 32
FROM = {"MAIL_DEFAULT_SENDER": "mail@acme.example"}
ONE = {**FROM, "MAIL_ROUTES": "ses", "MAIL_ROUTE_SES_SERVER": "smtp.ses.example"}
LOGIN = {"MAIL_ROUTE_SES_USERNAME": "ada", "MAIL_ROUTE_SES_PASSWORD": "hidden"}


def read(**environ: str) -> Settings:
    return load({"SECRET_KEY": KEY, **environ}, env_file=None)


def faults(**environ: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    named = {fault.pointer: fault.message for fault in caught.value.faults}
    assert len(named) == len(caught.value.faults), "one mistake for each variable"
    return named


def test_without_a_server_there_is_no_route():
    assert read().mail_routes == ()


def test_the_plain_variables_describe_the_only_route(tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = read(
        **FROM,
        SMTP_SERVER="smtp.acme.example",
        MAIL_PORT="465",
        MAIL_USERNAME="ada",
        MAIL_PASSWORD="x",
        MAIL_CA_FILE=str(tmp_path / "ca.pem"),
        MAIL_MAX_RATE="120/minute",
        DELIVERY_THREADS="9",
    )
    assert settings.mail_routes == (
        MailRoute(
            name="smtp",
            server="smtp.acme.example",
            port=465,
            use_tls=False,
            use_ssl=True,
            username="ada",
            password="x",
            ca_file=tmp_path / "ca.pem",
            lanes=("token", "transactional", "bulk"),
            sender_domains=(),
            weight=1,
            max_rate=2.0,
            connections=9,
        ),
    )


def test_each_named_route_has_variables_of_its_own():
    settings = read(
        **FROM,
        DELIVERY_THREADS="6",
        MAIL_ROUTES="ses, my-relay2",
        MAIL_ROUTE_SES_SERVER="smtp.ses.example",
        MAIL_ROUTE_SES_USERNAME="ada",
        MAIL_ROUTE_SES_PASSWORD="x",
        MAIL_ROUTE_SES_MAX_RATE="14/second",
        MAIL_ROUTE_SES_SENDER_DOMAINS="Acme.example, bücher.example",
        MAIL_ROUTE_SES_LANES="bulk,token",
        MAIL_ROUTE_MY_RELAY2_SERVER="127.0.0.1",
        MAIL_ROUTE_MY_RELAY2_PORT="1025",
        MAIL_ROUTE_MY_RELAY2_WEIGHT="0",
        MAIL_ROUTE_MY_RELAY2_CONNECTIONS="128",
    )
    ses, relay = settings.mail_routes
    assert settings.mail_mode is MailMode.SMTP
    assert (ses.name, ses.server, ses.port, ses.use_tls, ses.use_ssl) == ("ses", "smtp.ses.example", 587, True, False)
    assert (ses.username, ses.password, ses.max_rate, ses.weight, ses.connections) == ("ada", "x", 14.0, 1, 6)
    assert (ses.lanes, ses.sender_domains) == (("token", "bulk"), ("acme.example", "xn--bcher-kva.example"))
    assert (relay.name, relay.server, relay.port, relay.use_tls) == ("my-relay2", "127.0.0.1", 1025, False)
    assert (relay.lanes, relay.sender_domains) == (LANES, ())
    assert (relay.weight, relay.max_rate, relay.connections) == (0, None, 128)


@pytest.mark.parametrize(
    ("environ", "port", "tls", "ssl"),
    [
        ({}, 587, True, False),
        ({"PORT": "465"}, 465, False, True),
        ({"USE_SSL": "true"}, 465, False, True),
        ({"USE_TLS": "false"}, 25, False, False),
        ({"SERVER": "localhost"}, 25, False, False),
    ],
)
def test_a_route_is_protected_by_the_rules_of_the_plain_variables(environ, port, tls, ssl):
    settings = read(**{**ONE, **{f"MAIL_ROUTE_SES_{name}": value for name, value in environ.items()}})
    [route] = settings.mail_routes
    assert (route.port, route.use_tls, route.use_ssl) == (port, tls, ssl)


def test_mail_that_is_switched_off_stays_off_with_routes():
    assert read(**ONE, MAIL_ENABLED="false").mail_mode is MailMode.OFF


def test_a_server_and_routes_together_are_a_mistake_that_says_to_choose():
    found = faults(**ONE, MAIL_SERVER="smtp.acme.example", MAIL_USERNAME="ada")
    assert set(found) == {"MAIL_ROUTES"}
    assert found["MAIL_ROUTES"].startswith("choose")


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAIL_PORT", "25"), ("MAIL_USE_TLS", "false"), ("MAIL_USERNAME", "ada"), ("MAIL_MAX_RATE", "14/second")],
)
def test_a_plain_variable_that_no_route_would_use_is_a_mistake(name, value):
    assert set(faults(**ONE, **{name: value})) == {name}


@pytest.mark.parametrize(
    ("environ", "wrong"),
    [
        ({"MAIL_ROUTE_SES_USE_TLS": "true", "MAIL_ROUTE_SES_USE_SSL": "true"}, "MAIL_ROUTE_SES_USE_SSL"),
        ({"MAIL_ROUTE_SES_USERNAME": "ada"}, "MAIL_ROUTE_SES_PASSWORD"),
        ({"MAIL_ROUTE_SES_PASSWORD": "x"}, "MAIL_ROUTE_SES_USERNAME"),
        ({**LOGIN, "MAIL_ROUTE_SES_USE_TLS": "false"}, "MAIL_ROUTE_SES_USE_TLS"),
        ({"MAIL_ROUTE_SES_SERVER": ""}, "MAIL_ROUTE_SES_SERVER"),
        ({"MAIL_ROUTE_SES_SERVER": "smtp://x"}, "MAIL_ROUTE_SES_SERVER"),
        ({"MAIL_ROUTE_SES_PORT": "0"}, "MAIL_ROUTE_SES_PORT"),
        ({"MAIL_ROUTE_SES_CA_FILE": "/nowhere/ca.pem"}, "MAIL_ROUTE_SES_CA_FILE"),
        ({"MAIL_ROUTE_SES_LANES": "token,fast"}, "MAIL_ROUTE_SES_LANES"),
        ({"MAIL_ROUTE_SES_SENDER_DOMAINS": "a@acme.example"}, "MAIL_ROUTE_SES_SENDER_DOMAINS"),
        ({"MAIL_ROUTE_SES_WEIGHT": "101"}, "MAIL_ROUTE_SES_WEIGHT"),
        ({"MAIL_ROUTE_SES_MAX_RATE": "14"}, "MAIL_ROUTE_SES_MAX_RATE"),
        ({"MAIL_ROUTE_SES_CONNECTIONS": "129"}, "MAIL_ROUTE_SES_CONNECTIONS"),
        ({"MAIL_ROUTES": "ses,SES"}, "MAIL_ROUTES"),
        ({"MAIL_DEFAULT_SENDER": ""}, "MAIL_DEFAULT_SENDER"),
        # Misspelt, or of a route that is not named.
        ({"MAIL_ROUTE_SES_HOST": "x"}, "MAIL_ROUTE_SES_HOST"),
        ({"MAIL_ROUTE_SES": "x"}, "MAIL_ROUTE_SES"),
        ({"MAIL_ROUTE_SSE_PORT": "25"}, "MAIL_ROUTE_SSE_PORT"),
        ({"MAIL_ROUTE_SSE_PASSWORD_FILE": "/run/x"}, "MAIL_ROUTE_SSE_PASSWORD_FILE"),
    ],
)
def test_a_mistake_in_a_route_names_the_variable(environ, wrong):
    found = faults(**{**ONE, **environ})
    assert wrong in found
    assert set(found) == {wrong} or wrong == "MAIL_ROUTES"


def test_a_variable_of_a_route_without_any_route_is_a_mistake_that_lists_what_there_is():
    found = faults(MAIL_ROUTE_SES_PORT="25")
    assert "MAIL_ROUTES" in found["MAIL_ROUTE_SES_PORT"]
    assert "_SENDER_DOMAINS" in found["MAIL_ROUTE_SES_PORT"]


@pytest.mark.parametrize("written", ["SES", "a_b", "-a", "a-", "a" * 21, "a b", "a,a", ",", "ä"])
def test_a_name_that_is_no_name_is_a_mistake(written):
    assert "MAIL_ROUTES" in faults(**FROM, MAIL_ROUTES=written)


def test_a_routes_password_can_come_from_a_file_and_is_never_shown(tmp_path):
    """T27"""
    (tmp_path / "password").write_text("hidden\n")
    login = {"MAIL_ROUTE_SES_USERNAME": "hidden@x", "MAIL_ROUTE_SES_PASSWORD_FILE": str(tmp_path / "password")}
    settings = read(**ONE, **login)
    assert settings.mail_routes[0].password == "hidden"
    for shown in (repr(settings), f"{settings}", repr(settings.mail_routes), str(settings.mail_routes[0])):
        assert "hidden" not in shown
        assert "smtp.ses.example" in shown
    plain = read(**FROM, MAIL_SERVER="smtp.acme.example", MAIL_USERNAME="hidden@x", MAIL_PASSWORD="hidden")
    assert "hidden" not in repr(plain)


@pytest.mark.parametrize(
    ("written", "a_second"), [("14/second", 14.0), (" 200 / Minute", 200 / 60), ("10000/hour", 10000 / 3600)]
)
def test_a_rate_is_read_as_messages_a_second(written, a_second):
    assert read(MAIL_MAX_RATE=written).mail_max_rate == a_second


@pytest.mark.parametrize("written", ["14", "0/second", "-1/second", "1.5/second", "14/day", "fast", "99999999/second"])
def test_what_is_no_rate_is_a_mistake(written):
    assert set(faults(MAIL_MAX_RATE=written)) == {"MAIL_MAX_RATE"}


def test_each_domain_can_have_a_rate():
    settings = read(MAIL_DOMAIN_RATES="GMAIL.com=10/second, bücher.example=60/minute,*=50/second,")
    assert settings.mail_domain_rates == {"gmail.com": 10.0, "xn--bcher-kva.example": 1.0, "*": 50.0}
    assert read().mail_domain_rates == {}
    with pytest.raises(TypeError):
        settings.mail_domain_rates["x.example"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    "written",
    ["gmail.com", "gmail.com=fast", "=1/second", "a b=1/second", "*=1/second,*=2/second", "X.de=1/hour,x.de=2/hour"],
)
def test_what_is_no_list_of_domain_rates_is_a_mistake(written):
    assert set(faults(MAIL_DOMAIN_RATES=written)) == {"MAIL_DOMAIN_RATES"}


def test_the_example_shows_every_variable_of_a_route_and_works_as_it_stands():
    shown = dict(re.findall(r"^# (MAIL_ROUTE_[A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert {name for name in shown if "_SES_" in name} == {
        mail_routes.variable("ses", s) for s in mail_routes.VARIABLES
    }
    ses, backup = read(**FROM, MAIL_ROUTES="ses,backup", **shown).mail_routes
    assert (ses.max_rate, backup.weight) == (14.0, 0)
    for suffix in ("port", "use_tls", "use_ssl", "ca_file", "lanes", "sender_domains", "connections"):
        assert getattr(ses, suffix) == getattr(backup, suffix), "the example shows the default"


def test_the_settings_that_the_page_about_operations_shows_start_a_service(tmp_path):
    (tmp_path / "secret").write_text("x")
    page = Page("docs/operations.md", (ROOT / "docs" / "operations.md").read_text())
    blocks = [dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", each.content)) for each in page.blocks if each.language == "env"]
    shown = [block for block in blocks if any(re.search("ROUTE|RATE", name) for name in block)]
    read_ones = [
        read(**{name: str(tmp_path / "secret") if "FILE" in name else value for name, value in block.items()})
        for block in shown
    ]
    rates = [each.mail_max_rate for each in read_ones if each.mail_max_rate]
    assert rates == [14.0, 80 / 3600]
    [several] = [each for each in read_ones if each.mail_routes]
    assert [route.name for route in several.mail_routes] == ["ses", "news", "backup"]
