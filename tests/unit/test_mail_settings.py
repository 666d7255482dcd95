"""What the mail settings mean together, and that `.env.example` tells of every setting."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from email_service.kernel.addresses import Mailbox
from email_service.kernel.errors import SettingsError
from email_service.settings import MailMode, Settings, load
from email_service.settings.variables import Variable

KEY = "k" * 32
SMTP = {"MAIL_SERVER": "smtp.acme.example", "MAIL_DEFAULT_SENDER": "mail@acme.example"}
EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
PROVIDERS = ("Gmail", "SendGrid", "Amazon SES", "Mailgun")


def read(**environ: str) -> Settings:
    return load({"SECRET_KEY": KEY, **environ}, env_file=None)


def wrong(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return [fault.pointer for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({}, MailMode.CAPTURE),
        (SMTP, MailMode.SMTP),
        ({**SMTP, "MAIL_ENABLED": "true"}, MailMode.SMTP),
        ({**SMTP, "MAIL_ENABLED": "false"}, MailMode.OFF),
        ({"MAIL_ENABLED": "no"}, MailMode.OFF),
    ],
)
def test_the_mode_follows_from_server_and_switch(environ, mode):
    assert read(**environ).mail_mode is mode


def test_enabled_mail_without_a_server_is_a_mistake():
    assert wrong(MAIL_ENABLED="true") == ["MAIL_SERVER"]


@pytest.mark.parametrize(
    ("environ", "port", "tls", "ssl"),
    [
        ({}, 587, True, False),
        ({"MAIL_PORT": "25"}, 25, True, False),
        ({"MAIL_PORT": "465"}, 465, False, True),
        ({"MAIL_PORT": "465", "MAIL_USE_TLS": "true"}, 465, True, False),
        ({"MAIL_USE_SSL": "true"}, 465, False, True),
        ({"MAIL_USE_TLS": "false"}, 25, False, False),
        ({"MAIL_USE_SSL": "true", "MAIL_PORT": "2465"}, 2465, False, True),
        ({"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": "1025"}, 1025, False, False),
        ({"MAIL_SERVER": "localhost"}, 25, False, False),
        ({"MAIL_SERVER": "[::1]", "MAIL_USE_TLS": "true"}, 587, True, False),
    ],
)
def test_port_and_protection_follow_from_each_other(environ, port, tls, ssl):
    settings = read(**{**SMTP, **environ})
    assert (settings.mail_port, settings.mail_use_tls, settings.mail_use_ssl) == (port, tls, ssl)


def test_both_kinds_of_tls_are_a_mistake():
    assert wrong(**SMTP, MAIL_USE_TLS="true", MAIL_USE_SSL="true") == ["MAIL_USE_SSL"]


@pytest.mark.parametrize(("given", "missing"), [("MAIL_USERNAME", "MAIL_PASSWORD"), ("SMTP_PASSWORD", "MAIL_USERNAME")])
def test_half_a_login_is_a_mistake(given, missing):
    assert wrong(**SMTP, **{given: "x"}) == [missing]


def test_a_login_crosses_no_network_in_the_clear():
    login = {"MAIL_USERNAME": "ada", "MAIL_PASSWORD": "x", "MAIL_USE_TLS": "false"}
    assert wrong(**SMTP, **login) == ["MAIL_USE_TLS"]
    assert read(**{**SMTP, **login, "MAIL_SERVER": "localhost"}).mail_use_tls is False


@pytest.mark.parametrize(
    ("environ", "sender", "written"),
    [
        ({"MAIL_DEFAULT_SENDER": "a@acme.example"}, Mailbox("a@acme.example", ""), "a@acme.example"),
        ({"MAIL_DEFAULT_SENDER": "Acme <a@acme.example>"}, Mailbox("a@acme.example", "Acme"), "Acme <a@acme.example>"),
        (
            {"MAIL_DEFAULT_SENDER": '"Acme, Inc." <a@acme.example>'},
            Mailbox("a@acme.example", "Acme, Inc."),
            '"Acme, Inc." <a@acme.example>',
        ),
        (
            {"SENDER_EMAIL": "a@acme.example", "SENDER_NAME": "Acme"},
            Mailbox("a@acme.example", "Acme"),
            "Acme <a@acme.example>",
        ),
        (
            {"MAIL_DEFAULT_SENDER": "a@ACME.example", "SENDER_NAME": "Acme"},
            Mailbox("a@acme.example", "Acme"),
            "Acme <a@acme.example>",
        ),
    ],
)
def test_the_sender_is_read_in_each_of_its_forms(environ, sender, written):
    settings = read(MAIL_SERVER="smtp.acme.example", **environ)
    assert (settings.sender, settings.mail_default_sender) == (sender, written)


@pytest.mark.parametrize(
    "written", ["nobody", "Acme <a@acme.example", "a@b.example,c@d.example", "A\nB <a@acme.example>"]
)
def test_a_sender_that_is_no_mailbox_is_a_mistake(written):
    """T19"""
    assert wrong(MAIL_SERVER="smtp.acme.example", MAIL_DEFAULT_SENDER=written) == ["MAIL_DEFAULT_SENDER"]


def test_mail_that_is_sent_needs_a_sender():
    assert wrong(MAIL_SERVER="smtp.acme.example") == ["MAIL_DEFAULT_SENDER"]


def test_a_second_sender_name_is_a_mistake():
    assert wrong(MAIL_DEFAULT_SENDER="Acme <a@acme.example>", SENDER_NAME="Other") == ["SENDER_NAME"]


@pytest.mark.parametrize(
    ("name", "value", "alias", "other"),
    [
        ("MAIL_SERVER", "a.example", "SMTP_SERVER", "b.example"),
        ("MAIL_PORT", "25", "SMTP_PORT", "26"),
        ("MAIL_DEFAULT_SENDER", "a@acme.example", "SENDER_EMAIL", "b@acme.example"),
    ],
)
def test_an_alias_may_repeat_a_setting_but_not_contradict_it(name, value, alias, other):
    environ = {**SMTP, name: value}
    assert read(**environ, **{alias: value}) == read(**environ)
    assert wrong(**environ, **{alias: other}) == [name]


def test_smtp_style_settings_alone_are_enough():
    settings = read(
        SMTP_SERVER="smtp.acme.example",
        SMTP_PORT="2525",
        SMTP_USERNAME="ada",
        SMTP_PASSWORD="x",
        SENDER_EMAIL="a@acme.example",
    )
    assert (settings.mail_server, settings.mail_port, settings.mail_username) == ("smtp.acme.example", 2525, "ada")


def declared() -> dict[str, Variable]:
    found = {each.name.upper(): each.metadata.get("variable") for each in fields(Settings)}
    return {name: variable for name, variable in found.items() if variable is not None}


def test_the_example_lists_exactly_the_settings_and_their_aliases():
    listed = set(re.findall(r"^# ([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    # The variables of routes have names in them; test_mail_routes.py looks at those.
    listed = {name for name in listed if not name.startswith("MAIL_ROUTE_")}
    aliases = {variable.alias for variable in declared().values() if variable.alias} | {"SENDER_NAME"}
    assert listed == set(declared()) | aliases


def test_the_example_shows_each_default_as_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown = dict(reversed(re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)))
    for name, variable in declared().items():
        default = variable.default() if callable(variable.default) else variable.default
        if default:
            assert variable.parse(shown[name]) == default, name
    resolved = load({}, env_file=None)
    assert str(resolved.mail_port) == shown["MAIL_PORT"]
    assert (resolved.mail_use_tls, resolved.mail_use_ssl) == (True, False)


def test_the_example_changes_nothing_when_it_is_copied(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load({}, env_file=EXAMPLE) == load({}, env_file=None)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_example_block_of_each_provider_works_as_it_stands(provider):
    block = next(part for part in EXAMPLE.read_text().split("\n\n") if part.startswith(f"# {provider}"))
    settings = read(**dict(re.findall(r"^# ([A-Z_]+)=(.*)$", block, re.MULTILINE)))
    assert (settings.mail_mode, settings.mail_port, settings.mail_use_tls) == (MailMode.SMTP, 587, True)


def test_every_setting_in_the_example_has_a_comment():
    for part in EXAMPLE.read_text().split("\n\n"):
        if re.search(r"^# [A-Z_]+=", part, re.MULTILINE):
            assert not re.match(r"# [A-Z_]+=", part), part
