"""`email-service health worker` and `health beat`, as a container asks them."""

import os
import signal
import subprocess
import sys

import pytest

from tests.journeys.processes import wait_until

WHAT_ASKING_LOADS = """
import sys
from contextlib import suppress
import click
from email_service.cli.main import commands
with suppress(click.ClickException):
    commands.main(["health", "worker"], standalone_mode=False)
print(sorted(sys.modules.keys() & {"flask", "celery", "jinja2", "marshmallow"}))
"""


@pytest.mark.parametrize(("role", "name"), [("worker", "worker-1"), ("beat", "beat")])
def test_a_process_is_well_while_it_works_and_not_when_it_hangs_or_is_gone(town, role, name):
    process, folder = town.running[name], town.house.folder / f"tmp-{name}"
    sign = folder / f"email-service-{os.getuid()}-{role}"
    wait_until(sign.exists)
    well = town.house.command("health", role, TMPDIR=str(folder))
    assert (well.returncode, len(well.stdout.splitlines())) == (0, 1), well.stderr
    os.killpg(process.popen.pid, signal.SIGSTOP)
    try:
        # As if half a minute had gone by: nobody touches the file any more.
        old = sign.stat().st_mtime - 31
        os.utime(sign, (old, old))
        hung = town.house.command("health", role, TMPDIR=str(folder))
        assert hung.returncode == 1
        assert len(hung.stderr.splitlines()) == 1
        assert "seconds ago" in hung.stderr
    finally:
        os.killpg(process.popen.pid, signal.SIGCONT)
    wait_until(lambda: town.house.command("health", role, TMPDIR=str(folder)).returncode == 0, 40)
    assert process.terminate() == 0
    gone = town.house.command("health", role, TMPDIR=str(folder))
    assert gone.returncode == 1
    assert f"email-service {role}" in gone.stderr


def test_a_sign_of_life_of_another_user_or_through_a_link_counts_for_nothing(house, tmp_path):
    installation = house()
    target = tmp_path / "target"
    target.touch()
    (tmp_path / f"email-service-{os.getuid()}-worker").symlink_to(tmp_path / "nowhere")
    asked = installation.command("health", "worker", TMPDIR=str(tmp_path))
    assert asked.returncode == (0 if os.getuid() == target.stat().st_uid else 1)


def test_asking_loads_little_of_the_program():
    """Every container asks every half minute, which would otherwise take as much CPU as sending some mail."""
    asked = [sys.executable, "-c", WHAT_ASKING_LOADS]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "[]"
