"""A copy of the project that a Docker engine runs, asked from outside.

Knows docker, compose and HTTP; refuses to know what the service should do. The engine belongs to the tests: `run.sh`
starts it, and whatever it runs is thrown away.
"""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import requests

from tests.journeys.processes import wait_until
from tests.stand_ins import ROOT

WEB = "http://127.0.0.1:8080"
PUBLIC = "http://127.0.0.1:8001"
IN_COMPOSE = ("compose", "exec", "--no-TTY", "web")
HEALTHY_SECONDS = 180
# The single container of the docs has port 8000.
PORT = {"EMAIL_SERVICE_PORT": "8080"}


class Project:
    """A folder with everything that git knows; `docker` and `compose` answer what they printed, or fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
        for name in listed.stdout.decode().split("\0")[:-1]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)

    def docker(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env={**os.environ, **PORT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ran.returncode == 0, f"docker {' '.join(arguments)}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def compose(self, *arguments: str) -> str:
        return self.docker("compose", *arguments)

    def up(self) -> None:
        """As the docs say, and until every health check has passed."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(HEALTHY_SECONDS))

    def key(self, *way: str, scope: str = "*") -> str:
        """The API key of a new client, made in a container: `way` leads there."""
        name = f"client-{token_hex(4)}"
        made = self.docker(*way, "email-service", "client", "create", name, "--scope", scope, "--json")
        return str(json.loads(made)["api_key"])

    def inspect(self, container: str) -> dict[str, Any]:
        [found] = json.loads(self.docker("inspect", container))
        return dict(found)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Each service with what the engine knows of its container."""
        listed = self.docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=email-service")
        found = (self.inspect(identifier) for identifier in listed.split())
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def remove(self) -> None:
        """Everything that the engine runs or keeps, but the images."""
        for container in self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", container)
        self.docker("volume", "prune", "--all", "--force")
        self.docker("network", "prune", "--force")


def call(path: str, key: str = "", body: object = None, at: str = WEB) -> requests.Response:
    """One request: POST with a body, else GET."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    method = "GET" if body is None else "POST"
    return requests.request(method, at + path, json=body, headers=headers, timeout=30)


def send(key: str, at: str = WEB, **fields: object) -> dict[str, Any]:
    """A message that was accepted."""
    body = {"template": "welcome", "to": "ada@example.com", "variables": {"name": "Ada"}, **fields}
    answer = call("/v1/messages", key, body, at)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def next_month() -> str:
    """A time for `send_at` that no test lives to see."""
    return (datetime.now(UTC) + timedelta(days=30)).isoformat()


def wait_for_status(status: str, message: dict[str, Any], key: str, at: str = WEB) -> None:
    """Until the service says so of this message."""
    wait_until(lambda: call(f"/v1/messages/{message['id']}", key, at=at).json()["status"] == status, 60)
