"""`email-service health worker` and `health beat`, as a container asks them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.journeys.processes import free_port, wait_until

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
    sign = tmp_path / f"email-service-{os.getuid()}-worker"
    sign.touch()
    assert installation.command("health", "worker", TMPDIR=str(tmp_path)).returncode == 0
    if os.getuid() == 0:
        os.chown(sign, 10001, 10001)
        assert installation.command("health", "worker", TMPDIR=str(tmp_path)).returncode == 1
    target = sign.rename(tmp_path / "target")
    os.chown(target, os.getuid(), os.getgid())
    sign.symlink_to(target)
    assert installation.command("health", "worker", TMPDIR=str(tmp_path)).returncode == 1


def test_beat_is_well_and_stops_while_the_broker_has_never_been_there(house, tmp_path):
    """F5: neither a health check nor a stop waits for the broker."""
    beat = house().start("beat", CELERY_BROKER_URL=f"redis://127.0.0.1:{free_port()}/0", TMPDIR=str(tmp_path))
    sign = tmp_path / f"email-service-{os.getuid()}-beat"
    wait_until(lambda: "broker.unavailable" in beat.log())
    for _ in range(3):
        before = sign.stat().st_mtime
        wait_until(lambda: sign.stat().st_mtime > before, 30)  # noqa: B023 - asked at once
    begun_at = time.monotonic()
    assert beat.terminate() == 0
    assert time.monotonic() - begun_at < 10


def test_asking_loads_little_of_the_program():
    """Every container asks every half minute, which would otherwise take as much CPU as sending some mail."""
    asked = [sys.executable, "-c", WHAT_ASKING_LOADS]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "[]"
