"""A file whose age says how long ago a process was last at work, for health checks that cannot ask it anything.

A service manager that asked for signs of life gets the same ones. Knows neither what the process does nor what should
follow when it is silent.
"""

import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from email_service.kernel import clock, service_manager

STALE_SECONDS = 30.0

_log = structlog.get_logger(__name__)


def find_path(role: str) -> Path:
    """Where processes of this role and user leave their sign; TMPDIR tells several of them on one host apart."""
    return Path(tempfile.gettempdir()) / f"email-service-{os.getuid()}-{role}"


def find_age_seconds(role: str) -> float | None:
    """How long ago the role gave a sign; None when it never did, or when it is a link or another user's."""
    try:
        status = find_path(role).lstat()
    except FileNotFoundError:
        return None
    if status.st_uid != os.getuid() or not stat.S_ISREG(status.st_mode):
        return None
    return max(0.0, clock.now().timestamp() - status.st_mtime)


@dataclass(slots=True)
class Heartbeat:
    """One process's sign of life."""

    role: str
    _is_silenced: bool = field(default=False, init=False)

    def beat(self) -> None:
        """Give the sign. A disk that takes no file keeps nobody from working; it is told once."""
        service_manager.tell(service_manager.READY, service_manager.ALIVE)
        try:
            # Never through a link that somebody else left in a folder that everybody writes to.
            descriptor = os.open(find_path(self.role), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.utime(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._is_silenced:
                _log.warning("heartbeat.not_written", path=str(find_path(self.role)), error=error.strerror)
            self._is_silenced = True
        else:
            self._is_silenced = False

    def end(self) -> None:
        """Take the sign away: the process ends, and is not mistaken for one that hangs."""
        find_path(self.role).unlink(missing_ok=True)
