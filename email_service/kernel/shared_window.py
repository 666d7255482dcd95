"""Counts of the limits in Redis, for all processes together; in this process alone while Redis is away.

The `limits` library's own store goes by the clock of whoever counts, and two machines never agree on the time; this
one goes by Redis's, and asks it once for all that a request is counted in. Knows moving windows only.
"""

import threading
from itertools import groupby
from typing import Any, cast

import structlog
from limits.storage.redis import RedisStorage
from redis import Redis
from redis.exceptions import NoScriptError

from email_service.kernel import clock
from email_service.kernel.moving_window import Place, ProcessStorage, Standing, Turns

_LONGEST_PAUSE_SECONDS = 32.0
# A list holds the times of a key's hits, the newest first, and never more of them than count.
_TAKE = b"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local told, over_in = {}, nil
for place, key in ipairs(KEYS) do
  local turn, limit, seconds, is_taken, is_told = unpack(ARGV, 5 * place - 4, 5 * place)
  if over_in and turn ~= over_in then break end
  local first = now - seconds
  local last = tonumber(redis.call('LINDEX', key, limit - 1) or first - 1)
  local is_over, left, free_in = tonumber(limit) < 1 or last >= first, 0, last + seconds - now
  if is_over then
    over_in = turn
  else
    if is_taken == '1' then
      redis.call('LPUSH', key, string.format('%.6f', now))
      redis.call('LTRIM', key, 0, limit - 1)
      redis.call('EXPIRE', key, seconds)
    end
    if is_told == '1' then
      local low, high = 0, math.min(redis.call('LLEN', key), tonumber(limit))
      while low < high do
        local middle = math.floor((low + high) / 2)
        if tonumber(redis.call('LINDEX', key, middle)) >= first then low = middle + 1 else high = middle end
      end
      left, free_in = limit - low, 0
      if low > 0 then free_in = redis.call('LINDEX', key, low - 1) + seconds - now end
    end
  end
  told[place] = string.format('%d %d %.6f', is_over and 1 or 0, left, free_in)
end
return table.concat(told, ' ')
"""

_log = structlog.get_logger(__name__)


class SharedStorage(RedisStorage):
    """The store behind `shared+redis://` and `shared+rediss://`."""

    STORAGE_SCHEME = ["shared+redis", "shared+rediss"]  # noqa: RUF012 - read by the class that it registers with

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri.removeprefix("shared+"), **options)
        client = cast(Redis, self.get_connection())
        self._script, self._pool = client.register_script(_TAKE), client.connection_pool
        self._here = ProcessStorage()
        self._lock = threading.Lock()
        self._pause_seconds = 0.0  # 0: Redis answers
        self._asked_again_at_seconds = 0.0

    def take(self, turns: Turns) -> list[list[Standing]]:
        """Take places turn by turn, and tell of each turn that was reached."""
        pause_seconds = self._pause_seconds
        if pause_seconds and not self._may_ask_again(turns):
            return self._here.take(turns)
        try:
            standings = self._ask(turns)
        except self.base_exceptions as error:
            self._note_absence(error, pause_seconds)
            return self._here.take(turns)
        if pause_seconds:
            self._pause_seconds = 0.0
            _log.info("quotas.store_back")
        return standings

    def check(self) -> bool:
        """Whether Redis counts: one that can be read and not written does not."""
        return not self._pause_seconds and super().check()

    def reset(self) -> int | None:
        """Forget everything, here too."""
        self._here.reset()
        return super().reset()

    def _ask(self, turns: Turns) -> list[list[Standing]]:
        places = [(number, place) for number, turn in enumerate(turns) for place in turn]
        keys = [self.prefixed_key(place.key) for _, place in places]
        words = iter(self._evaluate(keys, [word for number, place in places for word in _words(number, place)]).split())
        standings = [
            Standing(over == b"1", int(left), float(free)) for over, left, free in zip(words, words, words, strict=True)
        ]
        reached = zip(places, standings, strict=False)
        return [[standing for _, standing in turn] for _, turn in groupby(reached, key=lambda each: each[0][0])]

    def _evaluate(self, keys: list[str], words: list[int]) -> bytes:
        """What the script answers.

        On a connection of redis-py's own, which looks before its use whether it is still there and ends itself when
        something is wrong with it. Its client would take half as long again, and ask a second time, which counts twice.
        """
        connection: Any = self._pool.get_connection()
        try:
            connection.send_command("EVALSHA", self._script.sha, len(keys), *keys, *words)
            answer: bytes = connection.read_response()
        except NoScriptError:
            answer = self._script(keys, words)  # loads it; whoever restarts or flushes Redis takes it away
        finally:
            self._pool.release(connection)
        return answer

    def _may_ask_again(self, turns: Turns) -> bool:
        """Of the requests of a pause only the first after its end asks: it may wait in vain, and no other does.

        Those that only look never do: a Redis that is full or a replica would answer that nothing was ever counted.
        """
        if not any(place.is_taken for turn in turns for place in turn):
            return False
        with self._lock:
            is_due = clock.monotonic_seconds() >= self._asked_again_at_seconds
            if is_due:
                self._asked_again_at_seconds = clock.monotonic_seconds() + self._pause_seconds
            return is_due

    def _note_absence(self, error: Exception, pause_seconds: float) -> None:
        """Begin a pause, or a longer one after the one in which Redis was asked in vain."""
        with self._lock:
            if self._pause_seconds != pause_seconds:
                return  # another request has noted it, of those that were under way together
            if not pause_seconds:
                _log.warning("quotas.store_away", error=type(error).__name__, counted="in this process")
            self._pause_seconds = min(max(1.0, 2 * pause_seconds), _LONGEST_PAUSE_SECONDS)
            self._asked_again_at_seconds = clock.monotonic_seconds() + self._pause_seconds


def _words(turn: int, place: Place) -> tuple[int, ...]:
    return turn, place.limit, place.seconds, int(place.is_taken), int(place.is_told)
