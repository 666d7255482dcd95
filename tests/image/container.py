"""One container of the image under test: started as hardened as compose.yaml does it, asked, and stopped.

Knows podman and HTTP, and nothing of mail. The network is the machine's own, so that its database can be reached.
"""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

HARDENED = (
    "--network=host",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    # podman leaves the timing of health checks to systemd; here the image's check is run by `is_healthy`.
    "--no-healthcheck",
)
STARTED_WITHIN_SECONDS = 60.0


def podman(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False, **options)


def wait_until(happens: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `happens` answers as soon as that is true; AssertionError with `what` when it never is."""
    ends_at = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < ends_at, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.1)
    return found


def free_port() -> int:
    """8000 if nobody has it, because the image's own command listens there; else any other."""
    for port in (8000, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("there is no free port")


class Container:
    """A running container. Its volume is the caller's, everything else goes with it."""

    def __init__(self, image: str, options: Sequence[str] = (), command: Sequence[str] = (), port: int = 8000) -> None:
        self.name = f"email-service-test-{token_hex(4)}"
        self.port = port
        self._image = image
        started = podman("run", "--detach", "--name", self.name, *HARDENED, *options, image, *command)
        assert started.returncode == 0, started.stderr.strip()

    def wait_until_healthy(self) -> None:
        wait_until(self._is_healthy, STARTED_WITHIN_SECONDS, f"a healthy {self.name}")

    def wait_until_connected(self, port: int) -> None:
        """Until a process in the container holds a connection to this port of another."""
        wait_until(lambda: self._is_connected(port), STARTED_WITHIN_SECONDS, f"a connection of {self.name} to {port}")

    def logs(self) -> str:
        shown = podman("logs", self.name)
        return shown.stdout + shown.stderr

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return podman("exec", self.name, *command)

    def processes(self) -> Iterator[dict[str, str]]:
        """What the kernel says of each process in the container."""
        waiting = [self._inspect("{{.State.Pid}}")]
        while waiting:
            folder = Path("/proc") / waiting.pop()
            yield dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
            for children in folder.glob("task/*/children"):
                waiting += children.read_text().split()

    def call(self, path: str, api_key: str = "", body: object = None) -> tuple[int, Any]:
        """Status and JSON of one request: POST with a body, else GET."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    def stop(self, seconds: int) -> tuple[int, float]:
        """Exit code and time after SIGTERM; podman kills after `seconds`, which is exit code 137."""
        began = time.monotonic()
        stopped = podman("stop", f"--time={seconds}", self.name)
        assert stopped.returncode == 0, stopped.stderr.strip()
        return int(self._inspect("{{.State.ExitCode}}")), time.monotonic() - began

    def remove(self) -> None:
        podman("rm", "--force", "--time=0", "--volumes", self.name)

    def _is_healthy(self) -> bool:
        assert self._inspect("{{.State.Status}}") == "running", f"{self.name} has ended:\n{self.logs()}"
        check = json.loads(podman("image", "inspect", "--format", "{{json .HealthCheck.Test}}", self._image).stdout)
        assert check[0] == "CMD", f"the image's health check is {check}"
        return self.execute(*(word.replace("8000", str(self.port)) for word in check[1:])).returncode == 0

    def _is_connected(self, port: int) -> bool:
        rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
        # The columns of proc(5): the remote address, the state (01 is established) and the inode of the socket.
        ours = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}
        found = set()
        for process in self.processes():
            for file in Path(f"/proc/{process['Pid']}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed since it was listed
                    found.add(str(file.readlink()))
        return bool(found & ours)

    def _inspect(self, form: str) -> str:
        return podman("inspect", "--format", form, self.name).stdout.strip()
