"""docs/deployment.md's part on systemd, followed on a machine that systemd has started."""

import json

import documents
import pytest

from tests.engine.machine import Machine
from tests.journeys.processes import wait_until
from tests.stand_ins import ROOT

PAGE = next(page for page in documents.pages(ROOT) if page.path == "docs/deployment.md")
SYSTEMD = documents.Page(PAGE.path, PAGE.text.partition("\n## systemd\n")[2])
SERVICES = ("web", "worker@token", "worker@rest", "beat")
PASSWORD = "/etc/email-service/mail_password"
WELCOME = {"template": "welcome", "to": "ada@example.com", "variables": {"name": "Ada"}}

pytestmark = pytest.mark.timeout(1200)


def unit(name: str) -> str:
    return f"email-service-{name}.service"


def follow(machine: Machine) -> dict[str, str]:
    """Every block in order; what each printed, by its first words."""
    printed = {}
    for block in SYSTEMD.blocks:
        if block.title:
            machine.write(block.title, block.content)
            machine.write(PASSWORD, "what-the-provider-gave-you")
        elif block.language == "sh":
            printed[" ".join(block.content.split()[:2])] = machine.run(block.content)
    return printed


def test_the_units_take_mail_send_it_and_outlive_a_kill(project):
    machine = Machine(project)
    printed = follow(machine)
    assert set(printed) == {"sudo python3", "sudo systemd-run", "sudo systemctl"}
    assert "shop" in printed["sudo systemd-run"]
    assert "email-service-beat.service" in printed["sudo systemctl"]
    assert all(machine.is_active(unit(name)) for name in SERVICES)
    for name in SERVICES:
        status = machine.run(f"cat /proc/{machine.property(unit(name), 'MainPID')}/status")
        assert "Uid:\t0\t" not in status
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status

    create = next(block.content for block in SYSTEMD.blocks if "systemd-run" in block.content)
    made = machine.run(create.strip().replace("shop --scope messages:send", "all --scope '*' --json"))
    key = json.loads(made)["api_key"]
    assert_sent(machine, key)

    web, before = unit("web"), machine.property(unit("web"), "MainPID")
    machine.run(f"systemctl kill --signal=KILL {web}")
    wait_until(lambda: machine.property(web, "MainPID") not in {before, "0"} and machine.is_active(web), 120)
    assert_sent(machine, key)

    machine.run("systemctl stop email-service.target")
    for name in SERVICES:
        wait_until(lambda name=name: machine.property(unit(name), "ActiveState") == "inactive", 75)
        assert machine.property(unit(name), "Result") == "success"


def assert_sent(machine: Machine, key: str) -> None:
    message = machine.ask("/v1/messages", key, WELCOME)
    wait_until(lambda: machine.ask(f"/v1/messages/{message['id']}", key)["status"] == "sent", 60)
