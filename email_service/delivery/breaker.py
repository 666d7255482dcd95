"""Stops a process from knocking at a mail server that lets nobody in. Knows one transport and this process only."""

import threading

from email_service.kernel import clock


class Breaker:
    """Closed while mail flows; open for a while after the transport itself failed (connect, TLS, AUTH)."""

    def __init__(self, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds
        self._open_until = 0.0
        self._lock = threading.Lock()

    def is_open(self) -> bool:
        """Whether to leave the transport alone for now."""
        return clock.monotonic_seconds() < self._open_until

    def trip(self) -> bool:
        """Open it; whether it was closed before, so that only one of many failures is announced."""
        with self._lock:
            was_closed = not self.is_open()
            self._open_until = clock.monotonic_seconds() + self._pause_seconds
            return was_closed

    def reset(self) -> bool:
        """Close it; whether it was open or had been, so that only the recovery is announced."""
        with self._lock:
            had_tripped = self._open_until > 0
            self._open_until = 0.0
            return had_tripped
