"""Counting in Redis: by its clock, for all processes together, and never without a limit while it is away."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import make_url
from time_machine import travel

from email_service.kernel import clock
from email_service.kernel.moving_window import Place, ProcessStorage
from email_service.kernel.shared_window import SharedStorage
from tests.journeys.private_servers import private_redis
from tests.journeys.processes import wait_until
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


@pytest.fixture
def pass_time(redis_url, monkeypatch) -> Callable[[int], None]:
    """As if so many seconds had passed since all that was counted, in Redis and in this process."""
    passed = timedelta()

    def let_pass(seconds: int) -> None:
        nonlocal passed
        passed += timedelta(seconds=seconds)
        monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + passed)
        with redis.Redis.from_url(redis_url) as server:
            for key in list(server.scan_iter()):
                hits_at = [float(each) - seconds for each in server.lrange(key, 0, -1)]
                left_seconds = server.ttl(key) - seconds
                server.delete(key)
                if left_seconds > 0:
                    server.rpush(key, *[f"{each:.6f}" for each in hits_at])
                    server.expire(key, left_seconds)

    return let_pass


@pytest.fixture
def pass_pause(monkeypatch) -> Callable[[], None]:
    """The clock by which Redis is asked again stands still; this moves it on by the shortest pause."""
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now)

    def let_pass() -> None:
        nonlocal now
        now += 1

    return let_pass


def place(limit: int, seconds: int, **more) -> Place:
    return Place(**{"key": "a", "limit": limit, "seconds": seconds, **more})


def hits(store, count: int, limit: int, seconds: int) -> list[bool]:
    """Which of so many hits had a place."""
    return [not store.take([[place(limit, seconds)]])[0][0].is_over for _ in range(count)]


def look(store, limit: int, seconds: int) -> tuple[int, float]:
    """How many places are left, and when the next one gets free."""
    [[standing]] = store.take([[place(limit, seconds, is_taken=False, is_told=True)]])
    return standing.left, standing.free_in_seconds


def test_as_many_as_allowed_have_a_place_whoever_counts(url):
    """T13"""
    stores = [SharedStorage(url) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(lambda number: hits(stores[number % 4], 1, 7, 60), range(100), timeout=30))
    assert taken.count([True]) == 7


@pytest.mark.parametrize("kind", [SharedStorage, ProcessStorage])
def test_a_place_is_free_when_its_time_is_over_and_not_before(url, kind, pass_time):
    store = kind(url)
    assert hits(store, 3, 2, 40) == [True, True, False]
    pass_time(30)
    assert hits(store, 1, 2, 40) == [False]
    pass_time(10)
    assert hits(store, 3, 2, 40) == [True, True, False]


@pytest.mark.parametrize("kind", [SharedStorage, ProcessStorage])
def test_a_refused_hit_and_a_look_do_not_count(url, kind):
    store = kind(url)
    assert hits(store, 5, 1, 60) == [True] + [False] * 4
    assert [look(store, 2, 60)[0] for _ in range(5)] == [1] * 5


@pytest.mark.parametrize("kind", [SharedStorage, ProcessStorage])
def test_how_many_are_left_and_when_the_next_is_free_is_told(url, kind, pass_time):
    store = kind(url)
    hits(store, 3, 5, 40)
    pass_time(20)
    hits(store, 1, 5, 40)
    assert look(store, 5, 40) == (1, pytest.approx(20, abs=8))
    assert look(store, 4, 40) == (0, pytest.approx(20, abs=8))
    pass_time(22)
    assert look(store, 5, 40) == (4, pytest.approx(18, abs=8))
    pass_time(20)
    assert look(store, 5, 40) == (5, 0)


@pytest.mark.parametrize("kind", [SharedStorage, ProcessStorage])
def test_turns_after_one_without_a_place_take_none(url, kind):
    """F18: who is over his own quota uses up nobody else's."""
    store = kind(url)
    own, day, others = place(1, 60, key="own"), place(3, 3600, key="day"), place(5, 60, key="other")
    told = [[[each.is_over for each in turn] for turn in store.take([[own, day], [others]])] for _ in range(3)]
    assert told == [[[False, False], [False]], [[True, False]], [[True, False]]]
    left = [store.take([[replace(each, is_taken=False, is_told=True)]])[0][0].left for each in (own, day, others)]
    assert left == [0, 0, 4]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_wrong_clock_of_whoever_counts_changes_nothing(store, hours):
    """F12: the window is the store's."""
    assert hits(store, 2, 2, 3600) == [True, True]
    with travel(clock.now() + timedelta(hours=hours)):
        assert hits(store, 1, 2, 3600) == [False]
        assert look(store, 2, 3600) == (0, pytest.approx(3600, abs=30))


def test_what_nobody_asks_for_any_more_is_forgotten(store, redis_url):
    hits(store, 2, 5, 3600)
    with redis.Redis.from_url(redis_url) as server:
        [key] = server.scan_iter()
        assert 3500 < server.ttl(key) <= 3600
    hits(store, 1, 5, 1)
    with redis.Redis.from_url(redis_url) as server:
        wait_until(lambda: server.dbsize() == 0)


def test_while_it_is_away_this_process_counts():
    """T34, F5"""
    lonely = SharedStorage(GONE)
    with captured_logs() as stream:
        assert hits(lonely, 5, 3, 60) == [True] * 3 + [False] * 2
        assert look(lonely, 3, 60)[0] == 0
    assert [line["event"] for line in parsed(stream)] == ["quotas.store_away"]
    assert lonely.check() is False


@pytest.mark.parametrize("kind", [SharedStorage, ProcessStorage])
def test_where_nothing_is_allowed_nobody_has_a_place(url, kind):
    assert hits(kind(url), 3, 0, 60) == [False] * 3


@pytest.fixture
def gate(url):
    """Between the store and its Redis."""
    with Turnstile(make_url(url).port or 6379) as gate:
        yield gate


@pytest.fixture
def through(url, gate) -> SharedStorage:
    where = make_url(url).set(host="127.0.0.1", port=gate.port).render_as_string(hide_password=False)
    return SharedStorage(where, socket_timeout=2.5)


def test_of_those_who_come_while_it_hangs_only_one_waits(*, through, gate, pass_pause, monkeypatch):
    """F5: a Redis that takes connections and says nothing costs one time-out a pause, and not one a request."""
    hits(through, 1, 5, 60)
    gate.hold(b"EVALSHA")
    asked, ask = [], through._ask
    monkeypatch.setattr(through, "_ask", lambda turns: asked.append(turns) or ask(turns))
    with captured_logs() as stream:
        assert hits(through, 20, 5, 60).count(True) == 5
        assert len(asked) == 1
        gate.release()
        pass_pause()
        hits(through, 1, 5, 60)
    assert [line["event"] for line in parsed(stream)] == ["quotas.store_away", "quotas.store_back"]
    assert look(through, 5, 60)[0] in {2, 3, 4}  # what timed out may have been counted all the same


def test_many_who_meet_a_hiccup_together_make_one_pause(through, gate, pass_pause):
    """F5, T13: each process counts alone for a second or two, and not the longer the more threads it has."""
    hits(through, 1, 5, 60)
    gate.hold(b"EVALSHA")
    with captured_logs() as stream:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: hits(through, 1, 5, 60), range(16), timeout=30))
        gate.release()
        pass_pause()
        hits(through, 1, 5, 60)
    assert [line["event"] for line in parsed(stream)] == ["quotas.store_away", "quotas.store_back"]


def test_one_that_can_be_read_and_not_written_is_away(pass_pause):
    """T34: a Redis that is full, or became a replica, would say that nobody ever failed."""
    # Its own server: what is full may throw away what others keep in it.
    with private_redis() as private, redis.Redis.from_url(private.url) as server:
        store = SharedStorage(f"shared+{private.url}")
        assert store.check()
        server.config_set("maxmemory", 1)
        assert hits(store, 3, 2, 60) == [True, True, False]
        pass_pause()
        assert look(store, 2, 60)[0] == 0
        assert not store.check()
        server.config_set("maxmemory", 0)
        pass_pause()
        assert hits(store, 1, 2, 60) == [True]
        assert store.check()
