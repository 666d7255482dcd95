"""One web process and more connections than it has room for: it goes on, and it stops when it is told to."""

import os
import resource
import shlex
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from select import select

import pytest
import requests

from tests.journeys.mailbag import Hold, smtp_settings
from tests.journeys.processes import COMMAND, Process, free_port, wait_until
from tests.wire.steps import Reply


def test_more_connections_than_descriptors_leave_the_process_alive(house):
    """T28"""
    installation, port = house(), free_port()
    log_path = installation.folder / "narrow.log"
    with log_path.open("wb") as log:
        popen = subprocess.Popen(
            ["sh", "-c", f"ulimit -n 200; exec {shlex.quote(COMMAND)} run --port {port}"],
            cwd=installation.folder,
            env=installation._environment({}),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = Process(popen, log_path)
    installation.processes.append(process)
    web = installation.await_web(process, port)
    workers = process.children()
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(_connected(web)).sendall(b"G")
        time.sleep(2)
        assert process.children() == workers
    assert wait_until(lambda: _is_well(web))
    assert process.children() == workers
    assert "Traceback" not in process.log()


def test_a_thousand_slow_connections_to_one_process_stop_nobody(house):
    """T28"""
    web = house().serve()
    with ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(_connected(web)).sendall(b"G")
        time.sleep(0.2)
        assert wait_until(lambda: _answers_within_a_second(web), 8)
        assert web.send()["status"] == "queued"
    assert web.process.is_running()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can narrow another process's limits")
def test_a_worker_without_descriptors_waits_for_some_and_says_so_once(house):
    """T28"""
    web = house().serve()
    [worker] = web.process.children()
    soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (25, hard))
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(_connected(web)).sendall(b"G")
        wait_until(lambda: "descriptors.exhausted" in web.process.log())
        spent_before = _processor_seconds(worker)
        time.sleep(2)
        assert _processor_seconds(worker) - spent_before < 1  # whoever asks again and again takes all there is
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
    assert wait_until(lambda: _is_well(web))
    assert web.process.children() == [worker]
    assert web.process.log().count("descriptors.exhausted") == 1


def test_waiting_for_mail_that_never_comes_holds_up_nobody(house):
    """T28: eight threads, and as many tests of a main app that all wait."""
    web = house().serve()
    path = f"{web.url}/inbox/messages?to=nobody@example.com&wait_seconds=8"
    answered_after = []

    def ask() -> None:
        begun_at = time.monotonic()
        with suppress(requests.RequestException):
            requests.get(path, timeout=30)
        answered_after.append(time.monotonic() - begun_at)

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    time.sleep(0.5)
    wait_until(lambda: _answers_within_a_second(web), 5)
    for asker in askers:
        asker.join()
    assert sum(seconds > 7 for seconds in answered_after) == 2


def test_delivery_stops_with_the_signal_and_not_after_the_last_answer(house, serve_mail):
    """F15"""
    first, second = Hold("250 2.0.0 queued"), Hold("250 2.0.0 queued")
    server = serve_mail(steps={"final": [first, second, Reply("250 2.0.0 queued")]})
    installation = house(**smtp_settings(server, DELIVERY_THREADS="1"))
    web = installation.serve()
    for number in range(30):
        web.send(f"reader-{number}@example.com")
    with _connected(web) as sock:
        # A thread reads this body, which keeps the stopping server busy.
        head = f"POST /v1/messages HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {web.api_key}\r\n"
        sock.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 90000\r\n\r\n{{".encode())
        first.released.set()
        assert second.reached.wait(30)
        web.process.popen.terminate()
        # What was claimed and not begun goes back with the signal.
        wait_until(lambda: _statuses(installation) == {"sent": 1, "sending": 1, "queued": 28})
        second.released.set()
        wait_until(lambda: _statuses(installation) == {"sent": 2, "queued": 28})
        assert web.process.is_running()
        assert select([sock], [], [], 0)[0] == [], "the request had come to its end"
    assert web.process.wait() == 0
    assert _statuses(installation) == {"sent": 2, "queued": 28}


def test_a_host_of_ipv6_is_listened_on_and_told_in_brackets(house):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    installation, port = house(), free_port()
    process = installation.start("run", "--host", "::1", "--port", str(port))
    url = f"http://[::1]:{port}"
    wait_until(lambda: not process.is_running() or _is_well_at(url))
    assert process.is_running(), process.log()
    assert f"email-service at {url}\n" in process.log()


def _connected(web) -> socket.socket:
    host, port = web.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 10)


def _answers_within_a_second(web) -> bool:
    begun_at = time.monotonic()
    return _is_well(web) and time.monotonic() - begun_at < 1


def _is_well(web) -> bool:
    return _is_well_at(web.url)


def _is_well_at(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}/healthz", timeout=5).ok
    return False


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _statuses(installation) -> dict[str, int]:
    database = sqlite3.connect(installation.folder / "var/email_service.db")
    try:
        return dict(database.execute("SELECT status, count(*) FROM messages GROUP BY status").fetchall())
    finally:
        database.close()
