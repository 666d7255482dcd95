"""What deploy/systemd starts, as systemd would start it: its settings, secrets and walls, and a manager that listens.

What folders a process sees is left out: that needs systemd itself as process 1.
"""

import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests import sandbox, units
from tests.applications import RESET
from tests.journeys.processes import Process, free_port, wait_until
from tests.stand_ins import ROOT
from tests.units import Unit

FOLDER = ROOT / "deploy/systemd"
SANDBOX = [sys.executable, str(Path(sandbox.__file__))]
WORKERS = ["email-service-worker@token.service", "email-service-worker@rest.service"]


class Manager:
    """Who starts the units of one machine, and hears what they say."""

    def __init__(self, installation, folder: Path, settings: str) -> None:
        self.installation, self._folder, self._settings = installation, folder, settings
        self._analyze = units.find_program()
        self._ears: dict[str, socket.socket] = {}
        self._said: dict[str, list[str]] = {}

    def start(self, name: str, **changes: str) -> Process:
        """Begin a unit; `port` is where it listens instead, and other changes are of its environment."""
        unit = units.read(FOLDER, name)
        own = self._folder / name
        own.mkdir()
        environment = unit.environment(self._settings, self._folder)
        words = unit.command(environment)[1:]
        if "port" in changes:
            words[words.index("--port") + 1] = changes.pop("port")
        if "METRICS_BIND" in environment:
            environment["METRICS_BIND"] = f"127.0.0.1:{free_port()}"
        # What is only for the command is no setting.
        environment.pop("LANES", None)
        return self.installation.start(
            *words,
            within=[*SANDBOX, sandbox.walls(unit, self._analyze)],
            **{**environment, "TMPDIR": str(own), **self._listen(unit), **changes},
        )

    def said(self, name: str) -> list[str]:
        """All that this unit has told so far, one state each."""
        with suppress(BlockingIOError):
            while True:
                self._said[name] += self._ears[name].recv(4096).decode().split("\n")
        return self._said[name]

    def _listen(self, unit: Unit) -> dict[str, str]:
        if unit.one("Service.Type") != "notify":
            return {}
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # An abstract name, as systemd gives one too: no folder is long enough to be in its way.
        name = f"email-service-{secrets.token_hex(8)}"
        ear.bind(f"\0{name}")
        ear.setblocking(False)
        self._ears[unit.name], self._said[unit.name] = ear, []
        return {"NOTIFY_SOCKET": f"@{name}"}

    def close(self) -> None:
        for ear in self._ears.values():
            ear.close()


@pytest.fixture
def manager(house, database, redis_url, tmp_path) -> Iterator[Manager]:
    folder = tmp_path / "machine"
    folder.mkdir()
    for name in ("DATABASE_URL", "SECRET_KEY"):
        (folder / name.lower()).write_text(database[name] + "\n")
    settings = (FOLDER / "email-service.env").read_text(encoding="utf-8")
    for place in ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/1"):
        assert place in settings
        settings = settings.replace(place, redis_url)
    running = Manager(house(), folder, settings)
    yield running
    running.close()


def test_the_units_migrate_serve_deliver_and_end_within_their_walls(manager, database):
    """F15"""
    migrated = manager.start("email-service-migrate.service")
    assert migrated.popen.wait(60) == 0, migrated.log()
    port = str(free_port())
    started = {
        "email-service-web.service": manager.start("email-service-web.service", port=port),
        "email-service-beat.service": manager.start("email-service-beat.service"),
        **{name: manager.start(name) for name in WORKERS},
    }
    for name, process in started.items():
        wait_until(lambda name=name, process=process: "READY=1" in manager.said(name) or not process.is_running(), 60)
        assert process.is_running(), process.log()
    web = manager.installation.await_web(started["email-service-web.service"], int(port))
    ready = requests.get(f"{web.url}/readyz", timeout=30)
    assert (ready.status_code, ready.json()["checks"]["broker"]) == (200, "ok")
    manager.installation.settings |= database
    web.api_key = manager.installation.create_client()
    accepted = web.send(), web.send(**RESET)
    for message in accepted:
        web.wait_for(message, "sent")
    for name in (*WORKERS, "email-service-beat.service"):
        count = manager.said(name).count("WATCHDOG=1")
        wait_until(lambda name=name, count=count: manager.said(name).count("WATCHDOG=1") > count, 30)
    assert [process.terminate() for process in started.values()] == [0] * len(started)
    assert "Operation not permitted" not in manager.installation.logs()


def test_a_worker_that_hangs_falls_silent_for_its_manager(manager):
    [name] = [name for name in WORKERS if "token" in name]
    worker = manager.start(name)
    wait_until(lambda: "WATCHDOG=1" in manager.said(name), 60)
    worker.popen.send_signal(signal.SIGSTOP)
    before = len(manager.said(name))
    # It tells about once a second.
    with pytest.raises(AssertionError, match="not so"):
        wait_until(lambda: len(manager.said(name)) > before + 1, 5)
    worker.popen.send_signal(signal.SIGCONT)
    wait_until(lambda: len(manager.said(name)) > before + 2, 20)


def test_a_manager_that_has_gone_keeps_nobody_from_working(manager):
    [name] = [name for name in WORKERS if "token" in name]
    worker = manager.start(name, NOTIFY_SOCKET=f"@nobody-{secrets.token_hex(8)}")
    sign = next(iter(wait_until(lambda: list((manager._folder / name).glob("email-service-*-worker")), 60)))
    first = sign.stat().st_mtime
    wait_until(lambda: sign.stat().st_mtime > first, 20)
    assert worker.terminate() == 0
