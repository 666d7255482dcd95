"""Counting in Redis: by its clock, for all processes together, and never without a limit while it is away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep

import pytest
import redis
from sqlalchemy import make_url
from time_machine import travel

from email_service.kernel import clock
from email_service.kernel.shared_window import SharedStorage
from tests.journeys.turnstile import Turnstile
from tests.log_capture import captured_logs, parsed

GONE = "shared+redis://127.0.0.1:1/0"


@pytest.fixture
def url(redis_url):
    """Of a Redis that is empty before and after."""
    with redis.Redis.from_url(redis_url) as server:
        server.flushdb()
        yield f"shared+{redis_url}"
        server.flushdb()


@pytest.fixture
def store(url) -> SharedStorage:
    return SharedStorage(url)


def hits(store, count: int, limit: int, seconds: int) -> list[bool]:
    return [store.acquire_entry("a", limit, seconds) for _ in range(count)]


def test_as_many_as_allowed_have_a_place_whoever_counts(url):
    """T13"""
    stores = [SharedStorage(url) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(lambda number: stores[number % 4].acquire_entry("a", 7, 60), range(100), timeout=30))
    assert taken.count(True) == 7


def test_a_place_is_free_when_its_time_is_over_and_not_before(store):
    assert hits(store, 3, 2, 1) == [True, True, False]
    sleep(1.05)
    assert hits(store, 3, 2, 1) == [True, True, False]


def test_a_refused_hit_does_not_count(store):
    assert hits(store, 5, 1, 60) == [True] + [False] * 4
    assert store.get_moving_window("a", 1, 60)[1] == 1


def test_hits_are_taken_all_or_none(store):
    assert [store.acquire_entry("a", 3, 60, amount) for amount in (2, 2, 1, 4)] == [True, False, True, False]


def test_the_window_says_when_it_began_and_what_it_holds(store):
    began_at = clock.now().timestamp()
    hits(store, 3, 5, 2)
    sleep(1)
    hits(store, 1, 5, 2)
    assert store.get_moving_window("a", 5, 2) == (pytest.approx(began_at, abs=0.3), 4)
    sleep(1.1)
    assert store.get_moving_window("a", 5, 2) == (pytest.approx(began_at + 1, abs=0.3), 1)
    assert store.get_moving_window("never", 5, 2) == (pytest.approx(clock.now().timestamp(), abs=0.3), 0)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_wrong_clock_of_whoever_counts_changes_nothing(store, hours):
    """F12: the window is the store's, and how long to wait is told in the time of whoever asks."""
    assert hits(store, 2, 2, 3600) == [True, True]
    with travel(clock.now() + timedelta(hours=hours)):
        assert hits(store, 1, 2, 3600) == [False]
        began_at, count = store.get_moving_window("a", 2, 3600)
        assert (count, began_at) == (2, pytest.approx(clock.now().timestamp(), abs=1))


def test_what_nobody_asks_for_any_more_is_forgotten(store, redis_url):
    hits(store, 2, 5, 1)
    with redis.Redis.from_url(redis_url) as server:
        assert server.dbsize() == 1
        sleep(1.2)
        assert server.dbsize() == 0


def test_while_it_is_away_this_process_counts(monkeypatch):
    """T34, F5"""
    lonely = SharedStorage(GONE)
    with captured_logs() as stream:
        assert hits(lonely, 5, 3, 60) == [True] * 3 + [False] * 2
        assert lonely.get_moving_window("a", 3, 60)[1] == 3
    assert [line["event"] for line in parsed(stream)] == ["quotas.store_away"]
    assert lonely.check() is False


def test_of_those_who_come_while_it_hangs_only_one_waits(url):
    """F5: a Redis that takes connections and says nothing costs one time-out a pause, and not one a request."""
    where = make_url(url)
    with Turnstile(where.port or 6379) as gate:
        through = where.set(host="127.0.0.1", port=gate.port).render_as_string(hide_password=False)
        store = SharedStorage(through, socket_timeout=0.5)
        hits(store, 1, 5, 60)
        gate.hold(b"EVALSHA")
        begun_at = clock.monotonic_seconds()
        assert hits(store, 20, 5, 60).count(True) == 5
        assert clock.monotonic_seconds() - begun_at < 1.4
        gate.release()
        with captured_logs() as stream:
            deadline = clock.monotonic_seconds() + 10
            while not stream.getvalue():
                assert clock.monotonic_seconds() < deadline
                sleep(0.1)
                store.get_moving_window("a", 5, 60)
    assert [line["event"] for line in parsed(stream)] == ["quotas.store_back"]
    assert store.get_moving_window("a", 5, 60)[1] in {1, 2}  # what timed out may have been counted all the same
