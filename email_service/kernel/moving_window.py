"""Counts of the limits in this process's memory, for one process alone and for development.

The `limits` library's own store starts a thread for nearly every hit to forget old ones, and moves all of a key's hits
to add one; this one forgets while it counts. Knows moving windows only.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from limits.storage import MovingWindowSupport, Storage

from email_service.kernel import clock

_SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """One of `limit` that a key has in any stretch of so many seconds."""

    key: str
    limit: int
    seconds: int
    is_taken: bool = True  # False: it is only looked whether there is one
    is_told: bool = False  # whether how many are left is asked for too, which takes longer to find out


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether there was a place."""

    is_over: bool
    left: int = 0  # when it was asked for
    free_in_seconds: float = 0.0  # until the next place gets free; when there was none, or it was asked for


# Places of one turn are taken together, as far as there are any. Turns after one that lacked a place are left out.
Turns = Sequence[Sequence[Place]]


class Store(Protocol):
    """What keeps the counts."""

    def take(self, turns: Turns) -> list[list[Standing]]:
        """Take places turn by turn, and tell of each turn that was reached."""


@dataclass(slots=True)
class _Window:
    """The times of one key's hits, oldest first."""

    seconds: float
    hits: deque[float] = field(default_factory=deque)

    def forget_before(self, instant: float) -> None:
        while self.hits and self.hits[0] < instant:
            self.hits.popleft()


class ProcessStorage(Storage, MovingWindowSupport):
    """The store behind `process://`."""

    STORAGE_SCHEME = ["process"]  # noqa: RUF012 - read by the class that it registers with

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: str) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._lock = Lock()
        self._windows: dict[str, _Window] = {}
        self._swept_at = 0.0

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing here can be unreachable."""
        return ValueError

    def take(self, turns: Turns) -> list[list[Standing]]:
        """Take places turn by turn, and tell of each turn that was reached."""
        told: list[list[Standing]] = []
        for turn in turns:
            told.append([self._take(place) for place in turn])
            if any(standing.is_over for standing in told[-1]):
                break
        return told

    def _take(self, place: Place) -> Standing:
        with self._lock:
            window, now = self._window(place.key, place.seconds)
            is_over = len(window.hits) >= place.limit
            if place.is_taken and not is_over:
                window.hits.append(now)
            free_in_seconds = window.hits[0] + place.seconds - now if window.hits else 0.0
            return Standing(is_over, max(0, place.limit - len(window.hits)), free_in_seconds)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` hits, all or none; False when they would be more than `limit` in `expiry` seconds."""
        with self._lock:
            window, now = self._window(key, expiry)
            if len(window.hits) + amount > limit:
                return False
            window.hits.extend([now] * amount)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest hit was that still counts, and how many count."""
        del limit
        now = clock.now().timestamp()
        with self._lock:
            window = self._windows.get(key)
            if window is not None:
                window.forget_before(now - expiry)
                if window.hits:
                    return window.hits[0], len(window.hits)
            return now, 0

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Fixed windows are not counted here."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """How many hits of the key are remembered."""
        window = self._windows.get(key)
        return len(window.hits) if window else 0

    def get_expiry(self, key: str) -> float:
        """When the last hit that is remembered will have been forgotten."""
        window = self._windows.get(key)
        return window.hits[-1] + window.seconds if window and window.hits else clock.now().timestamp()

    def check(self) -> bool:
        """Whether the store can be used."""
        return True

    def reset(self) -> int:
        """Forget everything; how many keys there were."""
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
            return count

    def clear(self, key: str) -> None:
        """Forget one key."""
        with self._lock:
            self._windows.pop(key, None)

    def _window(self, key: str, seconds: int) -> tuple[_Window, float]:
        """What of the key's hits still counts, and the time."""
        now = clock.now().timestamp()
        if abs(now - self._swept_at) > _SWEEP_SECONDS:
            self._sweep(now)
        window = self._windows.setdefault(key, _Window(seconds))
        window.forget_before(now - seconds)
        return window, now

    def _sweep(self, now: float) -> None:
        # Keys that are never seen again would stay for good.
        self._swept_at = now
        for key, window in list(self._windows.items()):
            window.forget_before(now - window.seconds)
            if not window.hits:
                del self._windows[key]
