"""Web processes that die between a request and its answer or are replaced under load (F3, F15), and machines whose
disk is full or whose clock is wrong (F11, F12)."""

import itertools
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import pytest
import requests

from tests.journeys.processes import Web, free_port, wait_until, welcome
from tests.journeys.town import Town
from tests.wire.steps import Reply

# A process that reads this believes that so many hours have passed, or have not yet come.
WRONG_CLOCK = """
import datetime, time_machine
now = datetime.datetime.now(datetime.UTC)
time_machine.travel(now + datetime.timedelta(hours={hours}), tick=True).start()
"""


def _call(web: Web, key: str) -> requests.Response | None:
    with suppress(requests.RequestException):
        body = {**welcome(f"{key}@example.com"), "client_reference": f"ref-{key}"}
        return web.call("POST", "/v1/messages", json=body, headers={"Idempotency-Key": key}, timeout=20)
    return None


def _kill_web_workers(town: Town) -> None:
    for pid in town.running["web"].children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_a_web_process_that_dies_amid_a_request_makes_one_mail_of_one_key(town, tell, moment):
    """F3"""
    web = town.web()
    accepted = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            key = token_hex(8)
            if moment == "before the commit":
                with town.postgres.connect(town.database) as connection, connection.transaction():
                    connection.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
                    first = pool.submit(_call, web, key)
                    wait_until(lambda: _end_waiting(town, is_told=False))
                    _kill_web_workers(town)
                    # The machine is gone, and so is what it asked of the database.
                    _end_waiting(town, is_told=True)
                    assert first.result() is None
            else:
                town.turnstile.hold(f"ref-{key}".encode())
                first = pool.submit(_call, web, key)
                assert town.turnstile.held.wait(30)
                wait_until(lambda: town.rows("SELECT 1 FROM messages WHERE client_reference = %s", f"ref-{key}"))  # noqa: B023
                _kill_web_workers(town)
                assert first.result() is None
                town.turnstile.release()
            answers = []
            for _ in range(2):
                [answer] = wait_until(lambda: [each for each in [_call(web, key)] if each is not None])  # noqa: B023
                assert answer.status_code == 202, answer.text
                answers.append(answer)
            assert answers[0].content == answers[1].content
            assert answers[1].headers["Idempotent-Replayed"] == "true"
            assert ("Idempotent-Replayed" in answers[0].headers) is (moment == "after the commit")
            assert town.rows("SELECT count(*) FROM messages WHERE client_reference = %s", f"ref-{key}") == [(1,)]
            accepted.append(answers[0].json())
    town.wait_until_settled()
    tally = town.tally(accepted)
    tell(tally.line(f"F3 ({moment})", kills=len(accepted)))
    assert (tally.delivered, tally.lost, tally.most) == (3, 0, 1)


@pytest.fixture
def successor_port(town) -> Iterator[int]:
    """Another worker and another web process, which take over; the port of the latter."""
    port = free_port()
    town.running["worker-3"] = town.house.start(*town.commands()["worker-1"][0])
    town.running["web-2"] = town.house.start("run", "--port", str(port))
    town.house.await_web(town.running["web-2"], port)
    wait_until(lambda: all(" ready." in process.log() for process in town.workers()), 60)
    yield port
    for name in ("worker-3", "web-2"):
        town.running.pop(name).kill()


def test_a_rolling_replacement_under_load_fails_no_request_and_doubles_no_mail(town, successor_port, tell):
    """F15: a client with two addresses goes to the other one when nobody listens at the first."""
    replaced = {name: town.running[name] for name in ("worker-1", "web", "worker-2")}
    said_before = {name: len(old.log()) for name, old in replaced.items()}
    turn = itertools.count()

    def rule(moment):
        if moment.phase == "final":
            # Some are on their way for longer than a process takes to end that waits for nobody.
            time.sleep(0.01 if next(turn) % 30 else 2)

    town.sink.rule = rule
    ports, accepted, failed, is_over = [town.port, successor_port], [], [], threading.Event()

    def load(number: int) -> None:
        while not is_over.is_set():
            key, answer = token_hex(8), None
            for attempt in range(20):
                web = Web(town.running["web"], f"http://127.0.0.1:{ports[(number + attempt) % 2]}", town.api_key)
                # Refused, or cut off without an answer: the same key may be sent again.
                answer = _call(web, key)
                if answer is not None:
                    break
                time.sleep(0.1)
            (accepted if answer is not None and answer.status_code == 202 else failed).append(answer)
            time.sleep(0.05)

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(load, number) for number in range(3)]
        try:
            for old in replaced.values():
                assert old.terminate() == 0, old.log()[-2000:]
        finally:
            is_over.set()
        assert all(each.exception() is None for each in running)
    assert failed == []
    messages = [answer.json() for answer in accepted]
    town.wait_until_settled(60)
    tally = town.tally(messages)
    tell(tally.line("F15", failed_requests=len(failed)))
    assert (tally.delivered, tally.lost, tally.most) == (len(messages), 0, 1)
    assert "Traceback" not in "".join(old.log()[said_before[name] :] for name, old in replaced.items())


def test_a_disk_that_is_full_refuses_callers_and_heals_by_itself(house, tell):
    """F11: no file of the process may grow, which is what a full disk does to it."""
    installation = house(DELIVERY_THREADS="1", API_RATE_LIMIT="100000/minute")
    web = installation.serve()
    accepted = [web.send("before@example.com")]
    [worker] = web.process.children()
    soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    size = max(path.stat().st_size for path in (installation.folder / "var").iterdir())
    try:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, hard))
        refused = wait_until(lambda: _find_refusal(web, accepted), 60)
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))
    assert refused["code"] == "unavailable"
    accepted.append(web.send("after@example.com"))
    for message in accepted:
        web.wait_for(message, "sent")
    tell(f"F11 (disk) accepted={len(accepted)} delivered={len(accepted)} lost=0 duplicated=0")
    assert web.process.children() == [worker]


def _find_refusal(web: Web, accepted: list) -> dict | None:
    answer = web.call("POST", "/v1/messages", json=welcome("full@example.com"))
    if answer.status_code == 202:
        accepted.append(answer.json())
        return None
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    found: dict = answer.json()
    return found


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_that_takes_nothing_stops_neither_accepting_nor_sending(town, tell):
    """F11"""
    for name in ("worker-1", "worker-2", "web"):
        town.running[name].kill()
    with Path("/dev/full").open("wb") as full:
        for name in ("web", "worker-1"):
            words, settings = town.commands()[name]
            town.running[name] = town.house.start(*words, log=full, **settings)
        town.web()
        accepted = town.send_many(20, "unlogged")
        town.wait_until_settled(60)
        tally = town.tally(accepted)
        tell(tally.line("F11 (log)"))
        assert (tally.delivered, tally.lost, tally.most) == (20, 0, 1)
        assert town.running["worker-1"].is_running()
        for name in ("web", "worker-1"):
            town.running[name].kill()


@pytest.fixture
def wrong_town(town, tmp_path):
    """A town with one worker whose clock is two hours fast, and one whose is two hours slow."""
    for name, hours in (("worker-1", 2), ("worker-2", -2)):
        town.running[name].kill()
        folder = tmp_path / name
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WRONG_CLOCK.format(hours=hours))
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        town.running[name] = town.house.start(*town.commands()[name][0], PYTHONPATH=path, TMPDIR=str(folder))
    wait_until(lambda: all(" ready." in process.log() for process in town.workers()), 60)
    yield town
    for process in town.workers():
        process.kill()


def test_workers_whose_clocks_are_hours_wrong_take_nothing_early_and_nothing_twice(wrong_town, tell):
    """F12: leases and expiry are by the clock of the database."""
    town = wrong_town
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    slow_ids, grey = set(), set()

    def rule(moment):
        if moment.phase == "rcpt" and moment.recipient.startswith("grey") and moment.recipient not in grey:
            grey.add(moment.recipient)
            return Reply("451 4.7.1 come back")
        if moment.phase == "final" and moment.recipient.startswith("slow") and moment.message_id not in slow_ids:
            slow_ids.add(moment.message_id)
            time.sleep(2.5)
        if moment.phase == "final":
            time.sleep(0.03)
        return None

    town.sink.rule = rule
    later = [town.send(f"later-{number}@example.com", send_at=in_an_hour) for number in range(5)]
    # More than one worker takes at once.
    accepted = town.send_batch(120, "mortal", expires_at=in_an_hour)
    accepted += town.send_many(4, "grey", expires_at=in_an_hour)
    accepted += town.send_many(4, "slow")
    wait_until(lambda: set(town.statuses(accepted).values()) == {"sent"}, 60)
    tally = town.tally(accepted)
    tell(tally.line("F12"))
    assert (tally.delivered, tally.lost, tally.most) == (128, 0, 1)
    assert set(town.statuses(later).values()) == {"scheduled"}
    logs = [process.log() for process in town.workers()]
    assert all("message.sent" in log for log in logs)


def _end_waiting(town: Town, *, is_told: bool) -> bool:
    """Whether a message waits to be inserted; ends what waits when told to."""
    action = "pg_terminate_backend(pid)" if is_told else "pid"
    waiting = "wait_event_type = 'Lock' AND usename = 'email_service' AND query LIKE '%%INSERT INTO%%'"
    return bool(town.rows(f"SELECT {action} FROM pg_stat_activity WHERE {waiting}"))
