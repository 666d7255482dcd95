"""Counting in this process's memory: as many as allowed in any stretch of time, and nothing kept for ever."""

from datetime import timedelta
from threading import active_count

import pytest
from time_machine import travel

from email_service.kernel import clock
from email_service.kernel.moving_window import ProcessStorage


@pytest.fixture
def store() -> ProcessStorage:
    return ProcessStorage("process://")


@pytest.fixture
def traveller():
    with travel(clock.now(), tick=False) as traveller:
        yield traveller


def test_no_stretch_of_time_holds_more_than_the_limit(store, traveller):
    taken = []
    for _ in range(30):
        taken.append(store.acquire_entry("a", 3, 10))
        traveller.shift(1)
    assert taken == ([True] * 3 + [False] * 8)[:11] + ([True] * 3 + [False] * 8) + ([True] * 3 + [False] * 5)


def test_a_refused_hit_does_not_count(store, traveller):
    assert [store.acquire_entry("a", 1, 10) for _ in range(3)] == [True, False, False]
    traveller.shift(10.5)
    assert store.acquire_entry("a", 1, 10)


def test_hits_are_taken_all_or_none(store, traveller):
    assert [store.acquire_entry("a", 3, 10, amount) for amount in (2, 2, 1)] == [True, False, True]


def test_every_key_has_a_window_of_its_own(store, traveller):
    assert [store.acquire_entry(key, 1, 10) for key in ("a", "b", "a")] == [True, True, False]


def test_the_window_says_when_it_began_and_what_it_holds(store, traveller):
    began_at = clock.now().timestamp()
    for _ in range(3):
        store.acquire_entry("a", 5, 10)
        traveller.shift(4)
    assert store.get_moving_window("a", 5, 10) == (pytest.approx(began_at + 4), 2)
    traveller.shift(60)
    assert store.get_moving_window("a", 5, 10) == (clock.now().timestamp(), 0)
    assert store.get_moving_window("never", 5, 10) == (clock.now().timestamp(), 0)


def test_a_key_that_is_never_seen_again_is_forgotten(store, traveller):
    for number in range(1000):
        store.acquire_entry(f"key-{number}", 5, 10)
    traveller.shift(timedelta(minutes=2))
    store.acquire_entry("another", 5, 10)
    assert store.reset() == 1


def test_a_long_window_outlives_the_sweeps(store, traveller):
    store.acquire_entry("a", 1, 3600)
    for _ in range(5):
        traveller.shift(timedelta(minutes=5))
        store.acquire_entry("another", 5, 10)
    assert not store.acquire_entry("a", 1, 3600)


def test_resetting_and_clearing_forget(store, traveller):
    for key in ("a", "b"):
        store.acquire_entry(key, 1, 10)
    store.clear("a")
    assert [store.acquire_entry(key, 1, 10) for key in ("a", "b")] == [True, False]
    assert store.reset() == 2
    assert store.acquire_entry("b", 1, 10)


def test_counting_starts_no_thread(store):
    before = active_count()
    for _ in range(100):
        store.acquire_entry("a", 1000, 10)
    assert active_count() == before
