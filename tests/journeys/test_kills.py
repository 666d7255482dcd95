"""kill -9 at the worst moments: nothing accepted is lost, and copies appear only where SMTP cannot avoid them."""

import base64
import os
import signal
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import requests

from tests.journeys.mailbag import Strike, copies, ids, smtp_settings
from tests.journeys.processes import measured, wait_until, welcome
from tests.wire.steps import Reply

OK = Reply("250 2.0.0 queued")
BIG = {"filename": "big.bin", "content_type": "application/octet-stream"}


def test_a_kill_during_and_right_after_the_content_loses_nothing(house, serve_mail):
    """F1, F2"""
    kills, in_doubt = [], Counter()

    def kill() -> None:
        for pid in web.process.children():
            os.kill(pid, signal.SIGKILL)
        kills.append(len(server.received))
        # Whose outcome nobody had written, and so nobody can know; before the first one, nothing had been sent.
        in_doubt.update(_find_unsettled(installation) if len(kills) > 1 else [])

    # The server reads nothing before the first strike, so that the content is still on its way.
    steps = {
        "content": [Strike(deed=kill), None],
        "final": [Strike("250 2.0.0 queued", deed=kill), OK, OK, OK, Strike("250 2.0.0 queued", deed=kill), OK],
    }
    server = serve_mail(steps=steps)
    installation = house(**smtp_settings(server, DELIVERY_LEASE_SECONDS="5", DELIVERY_THREADS="1"))
    web = installation.serve()
    content = base64.b64encode(os.urandom(9_000_000)).decode()
    accepted = [web.send("first@example.com", attachments=[{**BIG, "content": content}])]
    wait_until(lambda: kills)
    assert kills == [0]
    accepted += [_send_surely(web, f"reader-{number}@example.com") for number in range(12)]
    wait_until(lambda: len(kills) == 3 and ids(accepted) <= copies(server).keys(), 60)
    for message in accepted:
        web.wait_for(message, "sent")
    _report("kill -9 of the delivering process, 3 times", accepted, server)
    assert copies(server).keys() == ids(accepted)
    assert _copies_too_many(server, in_doubt) == {}


def test_a_kill_right_after_the_202s_loses_nothing_on_sqlite_either(house, serve_mail):
    """F3"""
    server = serve_mail()
    installation = house(**smtp_settings(server, DELIVERY_LEASE_SECONDS="5"))
    web = installation.serve()
    accepted, enough = [], Event()

    def send(number: int) -> None:
        try:
            response = web.call("POST", "/v1/messages", json=welcome(f"reader-{number}@example.com"), timeout=10)
        except requests.RequestException:
            return
        if response.status_code == 202:
            accepted.append(response.json())
        if len(accepted) >= 40:
            enough.set()

    with ThreadPoolExecutor(4) as pool:
        for number in range(200):
            pool.submit(send, number)
        assert enough.wait(30)
        web.process.kill()
    in_doubt = Counter(_find_unsettled(installation))
    installation.serve()
    wait_until(lambda: ids(accepted) <= copies(server).keys())
    _report("kill -9 of everything after the 202s", accepted, server)
    assert _copies_too_many(server, in_doubt) == {}


def _find_unsettled(installation) -> list[str]:
    with closing(sqlite3.connect(installation.folder / "var" / "email_service.db")) as connection:
        rows = connection.execute("SELECT message_id_header FROM messages WHERE status = 'sending'")
        return [header for (header,) in rows]


def _send_surely(web, to):
    """As a client does: again, under the same key, while nobody answers."""
    options = {"json": welcome(to), "headers": {"Idempotency-Key": to}, "timeout": 20}

    def attempt():
        try:
            return web.call("POST", "/v1/messages", **options)
        except requests.RequestException:
            return None

    response = wait_until(attempt)
    assert response.status_code == 202, response.text
    return response.json()


def _copies_too_many(server, in_doubt: Counter[str]) -> dict[str, int]:
    """Guarantee 2: at most one more copy of a message for each kill that met it unsettled, and none of the others."""
    return {each: count for each, count in copies(server).items() if count > 1 + in_doubt[each]}


def _report(what, accepted, server):
    taken = Counter(copies(server))
    duplicated = sum(count > 1 for count in taken.values())
    lost = len(ids(accepted) - taken.keys())
    measured(f"{what}: accepted {len(accepted)}, delivered {len(taken)}, lost {lost}, duplicated {duplicated}")
