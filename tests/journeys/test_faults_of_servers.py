"""Databases and brokers that restart, hang, refuse or are gone for good (F4, F5): callers are told to come again, what
was accepted is delivered, and no process has to be started again."""

import threading
import time
from contextlib import contextmanager, suppress

from tests.journeys.processes import wait_until, welcome
from tests.journeys.town import Town


def test_a_database_that_restarts_refuses_callers_politely_and_costs_no_message(town, tell):
    """F4"""
    pids = [process.pid for process in town.running.values()]
    accepted = town.send_many(30, "before")
    town.sink.rule = _slow_final
    accepted += town.send_batch(60, "during")
    town.postgres.kill()
    _check_refusal(town)
    _check_refusal(town)
    town.postgres.start()
    accepted += town.send_many(10, "after")
    seconds = town.wait_until_settled(90)
    tally = town.tally(accepted)
    tell(tally.line("F4 (killed and started)", seconds=f"{seconds:.1f}"))
    # An outcome waits for the database, so nothing has to be sent again.
    assert (tally.delivered, tally.lost, tally.most) == (100, 0, 1)
    assert [process.pid for process in town.running.values() if process.is_running()] == pids
    # Nothing half-written: every message has its content, its first event and its attempt.
    whole = town.rows(
        "SELECT count(*) FROM messages m WHERE message_id_header = ANY(%s) "
        "AND EXISTS (SELECT 1 FROM message_contents WHERE message_id = m.id) "
        "AND EXISTS (SELECT 1 FROM message_events WHERE message_id = m.id) "
        "AND EXISTS (SELECT 1 FROM delivery_attempts WHERE message_id = m.id)",
        [message["message_id_header"] for message in accepted],
    )
    assert whole == [(100,)]


def test_a_long_lock_gets_callers_a_503_and_what_waits_is_delivered_afterwards(town, tell):
    """F4"""
    with town.postgres.connect(town.database) as connection, connection.transaction():
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        begun_at = time.monotonic()
        _check_refusal(town)
        seconds = time.monotonic() - begun_at
    accepted = town.send_many(10, "unlocked")
    town.wait_until_settled(60)
    tally = town.tally(accepted)
    tell(tally.line("F4 (30 s lock)", refused_after_seconds=f"{seconds:.1f}"))
    assert (tally.delivered, tally.lost, tally.most) == (10, 0, 1)


def test_a_database_without_a_free_connection_gets_callers_a_503(town, tell):
    """F4"""
    accepted = town.send_many(10, "before")
    town.postgres.throw_out(0)
    _check_refusal(town)
    town.postgres.throw_out(-1)
    accepted += town.send_many(10, "after")
    town.wait_until_settled(60)
    tally = town.tally(accepted)
    tell(tally.line("F4 (no connection left)"))
    assert (tally.delivered, tally.lost, tally.most) == (20, 0, 1)


def test_a_broker_that_is_gone_for_good_delays_mail_by_a_sweep_and_callers_not_at_all(town, tell):
    """F5"""
    town.redis.stop()
    accepted, waits = [], []
    for number in range(8):
        begun_at = time.monotonic()
        accepted.append(town.send(f"alone-{number}@example.com"))
        waits.append(time.monotonic() - begun_at)
    latencies = [_delivery_seconds(town) for _ in range(3)]
    # Workers that start now find nobody either, and deliver all the same.
    for name in ("worker-1", "worker-2", "beat"):
        town.running[name].kill()
    accepted.append(town.send("nobody-woken@example.com"))
    town.revive()
    town.wait_until_settled(60)
    wait_until(lambda: all("Cannot connect to" in process.log() for process in town.workers()))
    assert town.running["worker-1"].terminate() == 0
    town.redis.start()
    wait_until(lambda: _has_consumer(town), 90)
    tally = town.tally(accepted)
    tell(tally.line("F5 (gone for good)", slowest_202=f"{max(waits):.2f}", slowest_delivery=f"{max(latencies):.2f}"))
    assert (tally.delivered, tally.lost, tally.most) == (9, 0, 1)
    # The slowest may have waited for the processor; most cannot have waited for the broker.
    assert sorted(waits)[-2] < 1
    assert sorted(latencies)[1] < 3
    assert town.running["worker-2"].is_running()
    assert town.running["beat"].is_running()


def test_a_broker_that_forgets_all_or_answers_nothing_loses_no_message(town, tell):
    """F5"""
    accepted = town.send_batch(100, "before")
    with town.redis.client() as client:
        client.flushall()
    town.redis.kill()
    town.redis.start()
    accepted += town.send_many(10, "after")
    with _paused(town):
        begun_at = time.monotonic()
        for number in range(4):
            accepted.append(town.send(f"paused-{number}@example.com"))
        seconds = (time.monotonic() - begun_at) / 4
        wait_until(lambda: town.open_count() == 0, 30)
    town.wait_until_settled(60)
    tally = town.tally(accepted)
    tell(tally.line("F5 (FLUSHALL, restart, silence)", mean_202_while_silent=f"{seconds:.2f}"))
    assert (tally.delivered, tally.lost, tally.most) == (114, 0, 1)
    assert seconds < 1.5
    assert all(process.is_running() for process in town.running.values())


def _slow_final(moment):
    if moment.phase == "final":
        time.sleep(0.1)


def _check_refusal(town: Town) -> None:
    """A caller is told to come again, in our own shape, and nothing was accepted."""

    response = town.web().call("POST", "/v1/messages", json=welcome("refused@example.com"))
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["code"] == "unavailable"


def _delivery_seconds(town: Town) -> float:
    begun_at = time.monotonic()
    message_id = town.send("swept@example.com")["message_id_header"]
    wait_until(lambda: town.sink.count(message_id), 30, pause_seconds=0.02)
    return time.monotonic() - begun_at


def _has_consumer(town: Town) -> bool:
    """Whether a worker waits at the broker again."""
    with suppress(Exception), town.redis.client() as client:
        return any("brpop" in str(each.get("cmd", "")) for each in client.client_list())
    return False


@contextmanager
def _paused(town: Town):
    town.redis.freeze()
    thaw = threading.Timer(60, town.redis.thaw)
    thaw.start()
    try:
        yield
    finally:
        town.redis.thaw()
        thaw.cancel()
