"""`email-service doctor`: whether all that this installation depends on works, and what to change where it does not.

Changes nothing and sends no mail. What is checked, and what is said of it, is the diagnosis' business.
"""

import json
import sys
from collections.abc import Iterator

import click

from email_service.cli import house
from email_service.diagnosis import examination
from email_service.diagnosis.lookup import Lookup
from email_service.kernel.errors import SettingsError
from email_service.settings import load
from email_service.settings import values as parsing
from email_service.web.checks import Finding, Level

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "red"}


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option("--dns-server", help="Ask this DNS server, ADDRESS or ADDRESS:PORT, instead of this machine's own.")
def doctor(is_json: bool, dns_server: str | None) -> None:
    """Check settings, database, broker, mail servers and DNS records; exit code 1 when something has to be changed."""
    findings = []
    for finding in _examine(_parse(dns_server)):
        findings.append(finding)
        if not is_json:
            _tell(finding)
    is_well = all(finding.level is not Level.FAILURE for finding in findings)
    if is_json:
        told = [
            {"check": each.name, "about": each.about or None, "level": each.level, "detail": each.detail}
            for each in findings
        ]
        print(json.dumps({"status": "ok" if is_well else "failed", "findings": told}, indent=2))
    sys.exit(0 if is_well else 1)


def _examine(dns_server: tuple[str, int] | None) -> Iterator[Finding]:
    _announce("the settings")
    try:
        settings = load()
    except SettingsError as error:
        for fault in error.faults:
            yield Finding("settings", Level.FAILURE, fault.message, "wrong", fault.pointer)
        return
    yield Finding("settings", Level.OK, "They fit together.")
    app = house.build(settings)
    lookup = Lookup(dns_server)
    with app.app_context():
        for step in examination.plan(house.parts(app), lookup.find_texts):
            _announce(step.title)
            yield from step.find()


def _announce(title: str) -> None:
    """What takes a while is named before it begins, apart from what is found."""
    print(f"Checking {title}...", file=sys.stderr, flush=True)


def _tell(finding: Finding) -> None:
    level = click.style(f"{finding.level:8}", fg=_COLOURS[finding.level])
    about = f" ({finding.about})" if finding.about else ""
    click.echo(f"{level} {finding.name}{about}: {finding.detail}")


def _parse(dns_server: str | None) -> tuple[str, int] | None:
    if dns_server is None:
        return None
    try:
        return parsing.listener(dns_server if ":" in dns_server else f"{dns_server}:53")
    except ValueError:
        raise click.BadParameter("write an address, or an address and a port.", param_hint="--dns-server") from None
