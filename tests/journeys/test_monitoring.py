"""A Prometheus watches the whole town while mail flows and breaks: each alert rings for its cause, and stops after it.

The rules are those that ship, with every span of time sixty times shorter.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests import prometheus
from tests.journeys.processes import Web, wait_until
from tests.journeys.sink import Moment, usual
from tests.journeys.town import Town
from tests.prometheus import Prometheus
from tests.wire.steps import Drop, Reply, Step

RULES = Path(__file__).parents[2] / "deploy/prometheus/alerts.yml"
QUICKER = 60
RINGS_SECONDS = 60
RESET = {
    "template": "password-reset",
    "variables": {"action_url": "https://app.example.com/reset?token=Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"},
}


@pytest.fixture
def watcher(town: Town, tmp_path: Path) -> Iterator[Prometheus]:
    jobs = {"email-service-web": [town.port], "email-service-worker": town.figures_ports}
    with prometheus.watching(tmp_path, prometheus.quickened(RULES, QUICKER), jobs) as watching:
        wait_until(lambda: watching.value("sum(up)") == 3)
        yield watching


def shut_door(moment: Moment) -> Step | None:
    return Drop() if moment.phase == "banner" else None


def refuse(code: str) -> Callable[[Moment], Step | None]:
    return lambda moment: Reply(code) if moment.phase == "rcpt" and moment.recipient.startswith("gone") else None


def rings(watcher: Prometheus, *names: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Each has rung; those that look at seconds do not all ring at the same time. Something goes on meanwhile."""
    rung: set[str] = set()

    def have_rung() -> bool:
        meanwhile()
        rung.update(watcher.firing())
        return set(names) <= rung

    wait_until(have_rung, RINGS_SECONDS, pause_seconds=0.5)


def stops(watcher: Prometheus, *names: str) -> None:
    wait_until(lambda: not set(names) & watcher.firing(), RINGS_SECONDS, pause_seconds=0.5)


def send_good_mail(town: Town, count: int = 1500) -> None:
    """So much that what went wrong before is a small share of it."""
    town.send_batch(count, "good", **RESET)
    town.send_batch(count, "good")
    town.wait_until_settled()


def age(town: Town) -> None:
    """What is due has been due for two hours."""
    town.rows("UPDATE messages SET due_at = now() - interval '2 hours' WHERE due_at <= now() RETURNING id")


def test_figures_of_all_processes_add_up_and_nothing_rings_while_mail_flows(town, watcher):
    def count(event: str) -> float:
        return watcher.value(f'sum(email_service_messages_total{{event="{event}"}})')

    before = count("accepted"), count("sent")
    accepted = town.send_batch(200, "flow") + town.send_many(40, "one") + town.send_batch(60, "token", **RESET)
    town.wait_until_settled()
    assert set(town.statuses(accepted).values()) == {"sent"}
    wait_until(lambda: (count("accepted") - before[0], count("sent") - before[1]) == (300, 300))
    assert watcher.value('sum(email_service_handover_seconds_count{lane="token"})') >= 60
    assert watcher.value('sum(email_service_http_request_seconds_count{endpoint="/v1/messages",status="2xx"})') >= 40
    wait_until(lambda: watcher.unhealthy() == [])  # a scrape may have come too late
    assert watcher.firing() == set()


def test_a_mail_server_that_shuts_its_door_rings_and_stops_ringing(town, watcher):
    """F9"""
    late = ("TokenMailLateFast", "TokenMailLate", "TokenMailLateSlowly")
    town.send_batch(10, "before", **RESET)
    town.wait_until_settled()
    town.sink.rule = shut_door
    town.sink.hang_up()
    rings(watcher, "RouteDown", *late, meanwhile=lambda: town.send_batch(2, "stuck", **RESET))
    assert "FiguresMissing" not in watcher.firing()
    town.sink.rule = usual
    # Again and again, for whoever knocked a moment before would wait for half a minute.
    wait_until(lambda: town.let_time_pass() or town.open_count() == 0, 60, pause_seconds=1)
    stops(watcher, "RouteDown")
    send_good_mail(town)
    stops(watcher, *late)


@pytest.mark.parametrize(
    ("reply", "rung", "silent"),
    [
        ("550 5.1.1 no such user", "BouncesMany", "MailFails"),
        ("550 5.7.1 not wanted here", "MailFails", "BouncesMany"),
    ],
)
def test_mail_that_is_refused_rings_by_its_reason_and_stops_ringing(town, watcher, reply, rung, silent):
    """F9"""
    town.sink.rule = refuse(reply)
    # Of another name each time: an address that bounced is suppressed.
    town.send_batch(40, f"gone-{rung.lower()}")
    rings(watcher, rung)
    assert not {silent, "RouteDown"} & watcher.firing()
    send_good_mail(town)
    stops(watcher, rung)


def test_workers_that_are_gone_ring_and_stop_ringing(town, watcher):
    """F2"""
    for worker in town.workers():
        worker.kill()
    town.send("late@example.com", **RESET)
    for lane in ("transactional", "bulk"):
        town.send("late@example.com", lane=lane)
    age(town)
    rings(watcher, "TokenMailWaits", "MailWaits", "FiguresMissing")
    town.revive()
    town.wait_until_settled()
    stops(watcher, "TokenMailWaits", "MailWaits", "FiguresMissing")
    wait_until(lambda: watcher.unhealthy() == [])  # a scrape may have come too late


def test_a_database_that_is_gone_rings_and_stops_ringing(town, watcher):
    """F4"""
    town.postgres.stop()

    def rings_for_callers() -> bool:
        with suppress(requests.RequestException):
            Web(town.running["web"], f"http://127.0.0.1:{town.port}", town.api_key).call("GET", "/v1/templates")
        return {"DatabaseUnreadable", "RequestsFail"} <= watcher.firing()

    try:
        wait_until(rings_for_callers, RINGS_SECONDS)
    finally:
        town.postgres.start()
    send_good_mail(town, 20)
    stops(watcher, "DatabaseUnreadable", "RequestsFail")
