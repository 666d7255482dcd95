"""Counts of the limits in Redis, for all processes together; in this process alone while Redis is away.

The `limits` library's own store goes by the clock of whoever counts, and two machines never agree on the time; this
one goes by Redis's. Knows moving windows only.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from limits.storage.redis import RedisStorage

from email_service.kernel import clock
from email_service.kernel.moving_window import ProcessStorage

_LONGEST_PAUSE_SECONDS = 32.0
# A list holds the times of a key's hits, the newest first, and never more of them than count.
_TAKE = b"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local limit, seconds, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if amount > limit then return 0 end
local last = redis.call('LINDEX', KEYS[1], limit - amount)
if last and tonumber(last) >= now - seconds then return 0 end
for _ = 1, amount do redis.call('LPUSH', KEYS[1], string.format('%.6f', now)) end
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('EXPIRE', KEYS[1], seconds)
return 1
"""
# How many hits count, and how many seconds ago the oldest of them was.
_LOOK = b"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local low, high = 0, math.min(redis.call('LLEN', KEYS[1]), tonumber(ARGV[1]))
while low < high do
  local middle = math.floor((low + high) / 2)
  if tonumber(redis.call('LINDEX', KEYS[1], middle)) >= now - ARGV[2] then low = middle + 1 else high = middle end
end
if low == 0 then return {0, '0'} end
return {low, tostring(now - redis.call('LINDEX', KEYS[1], low - 1))}
"""

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class SharedStorage(RedisStorage):
    """The store behind `shared+redis://` and `shared+rediss://`."""

    STORAGE_SCHEME = ["shared+redis", "shared+rediss"]  # noqa: RUF012 - read by the class that it registers with

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri.removeprefix("shared+"), **options)
        self._here = ProcessStorage()
        self._lock = threading.Lock()
        self._pause_seconds = 0.0  # 0: Redis answers
        self._asked_again_at_seconds = 0.0

    def initialize_storage(self, _uri: str) -> None:
        """Have the scripts at hand; Redis need not be there."""
        self._take = self.get_connection().register_script(_TAKE)
        self._look = self.get_connection().register_script(_LOOK)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` hits, all or none; False when they would be more than `limit` in `expiry` seconds."""
        return self._count(
            lambda: bool(self._take([self.prefixed_key(key)], [limit, expiry, amount])),
            lambda: self._here.acquire_entry(key, limit, expiry, amount),
        )

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When, by this machine's clock, the oldest hit was that still counts, and how many count."""

        def ask() -> tuple[float, int]:
            count, age_seconds = self._look([self.prefixed_key(key)], [limit, expiry])
            return clock.now().timestamp() - float(age_seconds), int(count)

        return self._count(ask, lambda: self._here.get_moving_window(key, limit, expiry))

    def reset(self) -> int | None:
        """Forget everything, here too."""
        self._here.reset()
        return super().reset()

    def _count(self, there: Callable[[], _T], here: Callable[[], _T]) -> _T:
        if not self._may_ask():
            return here()
        try:
            answer = there()
        except self.base_exceptions as error:
            self._note_absence(error)
            return here()
        if self._pause_seconds:
            self._pause_seconds = 0.0
            _log.info("quotas.store_back")
        return answer

    def _may_ask(self) -> bool:
        """Of the requests of a pause only the first after its end asks: it may wait in vain, and no other does."""
        if not self._pause_seconds:
            return True
        with self._lock:
            is_due = clock.monotonic_seconds() >= self._asked_again_at_seconds
            if is_due:
                self._asked_again_at_seconds = clock.monotonic_seconds() + self._pause_seconds
            return is_due

    def _note_absence(self, error: Exception) -> None:
        with self._lock:
            if not self._pause_seconds:
                _log.warning("quotas.store_away", error=type(error).__name__, counted="in this process")
            self._pause_seconds = min(max(1.0, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS)
            self._asked_again_at_seconds = clock.monotonic_seconds() + self._pause_seconds
