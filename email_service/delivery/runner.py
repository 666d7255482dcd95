"""Delivery inside the web process: a few threads that drain the outbox, woken by accepts or looking by themselves."""

import threading
from collections.abc import Callable, Iterable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from email_service.delivery.drain import Drain
from email_service.kernel import clock

SWEEP_SECONDS = 1.0
TIDY_SECONDS = 600.0

_log = structlog.get_logger(__name__)


class LocalRunner:
    """Threads that share all lanes, and one that serves token mail only, so that a slow burst never delays a token."""

    def __init__(
        self,
        make_drain: Callable[[Sequence[str]], Drain],
        lanes: Sequence[str],
        threads: int,
        tidy: Callable[[], int],
    ) -> None:
        self._tidy = tidy
        self._tidied_at_seconds = clock.monotonic_seconds()
        self._stopping = threading.Event()
        self._shared = threading.Condition()
        self._reserved = threading.Condition()
        self._reserved_lane = lanes[0]
        self._threads = [self._thread(make_drain(lanes), self._shared, f"delivery-{n}") for n in range(1, threads + 1)]
        self._threads.append(self._thread(make_drain(lanes[:1]), self._reserved, f"delivery-{lanes[0]}"))

    def start(self) -> None:
        """Begin to deliver."""
        for thread in self._threads:
            thread.start()

    def wake(self, lanes: Iterable[str]) -> None:
        """Something is due: one idle thread goes and looks. Never blocks for long, and missing it costs a second."""
        for condition in (self._shared, *([self._reserved] if self._reserved_lane in lanes else [])):
            with condition:
                condition.notify()

    def ask_to_stop(self) -> None:
        """Begin nothing new from now on; safe in a signal handler, for it takes no lock and waits for nobody."""
        self._stopping.set()

    def stop(self, timeout_seconds: float) -> bool:
        """Finish what is in flight and give the rest back; whether every thread ended in time."""
        self.ask_to_stop()
        for condition in (self._shared, self._reserved):
            with condition:
                condition.notify_all()
        ends_at = clock.monotonic_seconds() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, ends_at - clock.monotonic_seconds()))
        return not any(thread.is_alive() for thread in self._threads)

    def _thread(self, drain: Drain, condition: threading.Condition, name: str) -> threading.Thread:
        return threading.Thread(target=self._loop, args=(drain, condition), name=name, daemon=True)

    def _loop(self, drain: Drain, condition: threading.Condition) -> None:
        while not self._stopping.is_set():
            if self._attempt(lambda: drain.run(self._stopping.is_set)):
                continue
            self._tidy_if_time()
            with condition:
                if not self._stopping.is_set():
                    condition.wait(SWEEP_SECONDS)
        drain.close()

    def _tidy_if_time(self) -> None:
        # Any idle thread may do it; when two of them do it at once, one finds nothing left.
        if clock.monotonic_seconds() - self._tidied_at_seconds > TIDY_SECONDS:
            self._tidied_at_seconds = clock.monotonic_seconds()
            self._attempt(self._tidy)

    def _attempt(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except SQLAlchemyError as error:
            # The database is away. Leases end by themselves; the next sweep tries again.
            _log.error("database.unavailable", error=type(error).__name__)
            return 0
