"""With TEST_IMAGE, each process of the service is a container of that image, hardened as compose.yaml does it.

A container has the folder of its installation and the machine's network. What a killed run of the tests leaves behind,
tests/image/run.sh removes. Knows podman, and nothing of the service.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from tests.image.container import HARDENED, podman

IMAGE = os.environ.get("TEST_IMAGE", "")
USER = 10001
# What a shell adds to the code of a signal that ended a command, and podman as well.
_BY_SIGNAL = 128


@dataclass(frozen=True)
class Container:
    """One that a client of podman runs in the foreground: it hands signals on, but cannot do so with SIGKILL."""

    name: str = field(default_factory=lambda: f"email-service-journey-{token_hex(4)}")

    def command(self, folder: Path, words: Sequence[str], settings: Mapping[str, str]) -> list[str]:
        """What runs the service in this folder, which becomes the image's user's own."""
        for path in (folder, *folder.rglob("*")):
            with suppress(FileNotFoundError):  # gone since it was listed
                os.chown(path, USER, USER, follow_symlinks=False)
        return [
            *("podman", "run", "--rm", f"--name={self.name}", "--log-driver=none", *HARDENED, f"--workdir={folder}"),
            f"--volume={folder}:{folder}",
            *(f"--env={name}={value}" for name, value in settings.items()),
            *(IMAGE, *words),
        ]

    def pid(self) -> int:
        """The service as this machine counts: what tini, process 1 inside, started. An OSError when it is gone."""
        shown = podman("inspect", "--format={{.State.Pid}}", self.name)
        started = children(int(shown.stdout)) if shown.returncode == 0 else []
        if not started:
            raise ProcessLookupError(shown.stderr)
        return started[0]

    def kill(self, client: "subprocess.Popen[bytes]", seconds: float) -> None:
        """SIGKILL for all that runs inside, also when it is still being made."""
        ends_at = time.monotonic() + seconds
        while client.poll() is None:
            podman("kill", "--signal=KILL", self.name)
            with suppress(subprocess.TimeoutExpired):
                client.wait(1)
            assert time.monotonic() < ends_at, f"{self.name} does not end"


def exit_code(code: int) -> int:
    """A client's, as the process itself would have had it: negative for a signal."""
    return _BY_SIGNAL - code if code > _BY_SIGNAL else code


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    # The kernel's list misses some of them while others end.
    return sorted({int(child) for _ in range(3) for child in listed.read_text().split()})
