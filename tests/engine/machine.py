"""A machine of its own that systemd has started, in a container, with PostgreSQL, Redis and a checkout."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.engine.project import Project
from tests.journeys.processes import wait_until

NAME = "machine"
CHECKOUT = "/src"
DATABASE = (
    "cd / && sudo -u postgres psql --quiet --command \"CREATE ROLE email_service LOGIN PASSWORD 'the-password'\""
    " --command 'CREATE DATABASE email_service OWNER email_service'"
)
ASK = """
import json, sys, urllib.request
path, key, body = json.loads(sys.argv[1])
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
data = json.dumps(body).encode() if body else None
request = urllib.request.Request("http://127.0.0.1:8000" + path, data=data, headers=headers)
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


class Machine:
    """Its root's shell; what a command prints, or AssertionError."""

    def __init__(self, project: Project) -> None:
        self._project = project
        project.docker(
            "run", "--detach", "--name", NAME, "--privileged", "--tmpfs", "/run", "--tmpfs", "/tmp", "machine"
        )
        project.docker("cp", str(project.folder), f"{NAME}:{CHECKOUT}")
        wait_until(self._has_begun, 60)
        wait_until(lambda: self.is_active("redis-server") and self.is_active("postgresql@17-main"), 120)
        self.run(DATABASE)

    def run(self, script: str) -> str:
        return self._project.docker("exec", "--workdir", CHECKOUT, NAME, "sh", "-euc", script)

    def write(self, path: str, content: str) -> None:
        """A file of root's alone."""
        script = f"umask 077; mkdir -p {Path(path).parent}; cat > {path}"
        subprocess.run(
            ["docker", "exec", "--interactive", NAME, "sh", "-euc", script], input=content, text=True, check=True
        )

    def is_active(self, unit: str) -> bool:
        return self.property(unit, "ActiveState") == "active"

    def property(self, unit: str, name: str) -> str:
        return self.run(f"systemctl show --value --property={name} {unit}").strip()

    def ask(self, path: str, key: str, body: object = None) -> Any:
        """The JSON that web answers on this machine: to a POST with a body, else to a GET."""
        request = json.dumps([path, key, body])
        return json.loads(self._project.docker("exec", NAME, "python3", "-c", ASK, request))

    def _has_begun(self) -> bool:
        """Whether systemd can be asked."""
        asked = subprocess.run(["docker", "exec", NAME, "systemctl", "show"], capture_output=True, check=False)
        return asked.returncode == 0
