"""Tells Celery workers that something is due, from a thread of its own: however the broker is, no request waits for it.

A burst of accepts becomes one wake-up a lane, for what is noted while a publish is under way goes into the next one.
"""

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Waker:
    """Publishes wake-ups; losing one costs latency, for the sweep finds what is due."""

    def __init__(self, publish: Callable[[str], None]) -> None:
        self._publish = publish
        self._lanes: set[str] = set()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self, lanes: set[str]) -> None:
        """Note the lanes and return at once."""
        with self._condition:
            self._lanes |= lanes
            self._condition.notify()
            if self._thread is None or not self._thread.is_alive():
                # Started by the first use and not before, so that it lives in the process that serves requests.
                self._thread = threading.Thread(target=self._loop, name="waker", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while True:
            with self._condition:
                while not self._lanes:
                    self._condition.wait()
                lanes, self._lanes = self._lanes, set()
            for lane in sorted(lanes):
                self._publish_one(lane)

    def _publish_one(self, lane: str) -> None:
        try:
            self._publish(lane)
        except OSError as error:
            _log.warning("broker.unavailable", lane=lane, error=type(error).__name__)
