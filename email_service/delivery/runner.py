"""What keeps a dispatcher busy: a thread for each lane looks for what is due, woken by others or by itself.

The web process and the Celery worker have one each, so that delivery goes on however the broker is.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from email_service.delivery.dispatcher import Dispatcher
from email_service.kernel import clock

SWEEP_SECONDS = 1.0
TIDY_SECONDS = 60.0
STOP_SECONDS = 55.0  # for what is in flight; longer than an ordinary attempt takes

_log = structlog.get_logger(__name__)


class Runner:
    """Needs no broker and knows nothing of messages.

    A lane's feed makes messages for it, and is drained first. Without `tidy`, somebody else forgets what is old.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        lanes: Sequence[str],
        feeds: Mapping[str, Callable[[], int]],
        tidy: Callable[[], int] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._stopping = threading.Event()
        self._feeds = feeds
        self._wakers = {lane: threading.Event() for lane in lanes}
        self._has_ended = False
        self._threads = [threading.Thread(target=self._finish, name="finisher", daemon=True)]
        for lane in lanes:
            self._threads.append(threading.Thread(target=self._sweep, args=[lane], name=f"sweep-{lane}", daemon=True))
        if tidy is not None:
            self._threads.append(threading.Thread(target=self._tidy_often, args=[tidy], name="tidy", daemon=True))

    def start(self) -> None:
        """Begin to deliver."""
        self._dispatcher.start()
        for thread in self._threads:
            thread.start()

    def wake(self, lanes: Iterable[str]) -> None:
        """Something is due in these lanes. Never blocks, and missing it costs a second."""
        for lane in lanes:
            if lane in self._wakers:
                self._wakers[lane].set()

    def ask_to_stop(self) -> None:
        """Begin nothing new from now on, and give back what was not begun; waits for nobody."""
        self._stopping.set()
        self._dispatcher.ask_to_stop()
        for waker in self._wakers.values():
            waker.set()

    def stop(self, timeout_seconds: float) -> bool:
        """Wait until what is in flight is finished and the rest is given back; whether that was done in time."""
        self.ask_to_stop()
        ends_at = clock.monotonic_seconds() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, ends_at - clock.monotonic_seconds()))
        return self._has_ended and not any(thread.is_alive() for thread in self._threads)

    def _finish(self) -> None:
        # Not in the thread that stops the process, which may first have requests to answer: other processes can have
        # what was claimed here and not begun at once.
        self._stopping.wait()
        self._has_ended = self._dispatcher.stop(STOP_SECONDS)

    def _sweep(self, lane: str) -> None:
        while not self._stopping.is_set():
            # Cleared before looking: whatever becomes due after the look sets it again.
            self._wakers[lane].clear()
            fed = self._attempt(self._feeds[lane]) if lane in self._feeds else 0
            if not self._attempt(lambda: self._dispatcher.drain(lane)) + fed:
                self._wakers[lane].wait(SWEEP_SECONDS)

    def _tidy_often(self, tidy: Callable[[], int]) -> None:
        while not self._stopping.wait(TIDY_SECONDS):
            self._attempt(tidy)

    def _attempt(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except SQLAlchemyError as error:
            # The database is away. Leases end by themselves; the next sweep tries again.
            _log.error("database.unavailable", error=type(error).__name__)
            return 0
