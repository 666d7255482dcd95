"""Mail servers that put off, refuse, drop, stall, drip, flood and lie, and mail that cannot be made (F6, F9, F10, F13,
F14, F18): each message comes to the end it should, and the others do not wait for it."""

import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.applications import PASSWORD_RESET
from tests.journeys.processes import wait_until, welcome
from tests.journeys.sink import EXTENSIONS, GREETING, TAKEN, Moment, TakenAndSilent, usual
from tests.journeys.town import LEASE_SECONDS, MAIL_TIMEOUT_SECONDS, Town
from tests.wire.steps import Drip, Drop, Flood, Reply, ReplyThenDrop, Stall, Step, Write


@dataclass(frozen=True)
class Late(Step):
    """The usual reply, when it is nearly too late."""

    pause_seconds: float = MAIL_TIMEOUT_SECONDS - 2

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        is_stopping.wait(self.pause_seconds)
        super().perform(write, is_stopping)


class Turns:
    """A rule by phase: the first of these steps to the first who comes there, and so on; then all is as usual."""

    def __init__(self, **steps: list[Step]) -> None:
        self._steps, self._lock = {phase: list(each) for phase, each in steps.items()}, threading.Lock()

    def __call__(self, moment: Moment) -> Step | None:
        with self._lock:
            left = self._steps.get(moment.phase)
            return left.pop(0) if left else None

    def is_over(self) -> bool:
        return not any(self._steps.values())


def test_a_domain_that_puts_everybody_off_delays_no_other(town, tell):
    """F6"""
    replies = [Reply(f"{code} 4.7.1 greylisted, come back") for code in (421, 450, 451)]
    tries: Counter[str] = Counter()

    def grey(moment: Moment) -> Step | None:
        if moment.phase != "rcpt" or not moment.recipient.endswith("@grey.example"):
            return None
        tries[moment.recipient] += 1
        return replies[1 + tries[moment.recipient] % 2] if tries[moment.recipient] <= 2 else None

    town.sink.rule = grey
    put_off = [town.send(f"reader-{number}@grey.example") for number in range(20)]
    others = town.send_many(20, "other")
    begun_at = time.monotonic()
    wait_until(lambda: set(town.statuses(others).values()) == {"sent"}, 30)
    others_seconds = time.monotonic() - begun_at
    wait_until(lambda: town.let_time_pass() or town.open_count() == 0, 60, pause_seconds=0.5)
    tally = town.tally([*put_off, *others])
    tell(tally.line("F6", others_seconds=f"{others_seconds:.1f}"))
    assert (tally.delivered, tally.lost, tally.most) == (40, 0, 1)
    assert set(tries.values()) == {3}
    # The waits grow by the schedule of retries, and a server's reply is kept.
    rows = town.rows(
        "SELECT DISTINCT outcome, code FROM delivery_attempts a JOIN messages m ON m.id = a.message_id "
        "WHERE recipient_email LIKE '%%@grey.example' ORDER BY 2"
    )
    assert rows == [("accepted", 250), ("retry_later", 450), ("retry_later", 451)]


def test_each_refusal_comes_to_its_own_end(town, tell):
    """F9"""
    replies = {
        "unknown": Reply("550 5.1.1 no such user"),
        "full": Reply("552 5.2.2 mailbox full"),
        "policy": Reply("554 5.7.1 we do not like you"),
        "busy": Reply("452 4.3.1 too busy"),
    }
    told: set[str] = set()

    def refuse(moment: Moment) -> Step | None:
        name = moment.recipient.partition("@")[0]
        if moment.phase != "rcpt" or name not in replies or name in told:
            return None
        told.add(name)
        return replies[name]

    town.sink.rule = refuse
    accepted = [town.send(f"{name}@example.com") for name in (*replies, "fine")]
    wait_until(lambda: town.let_time_pass() or town.open_count() == 0, 60, pause_seconds=0.5)
    statuses = [town.statuses([message])[message["message_id_header"]] for message in accepted]
    tally = town.tally(accepted)
    tell(tally.line("F9 (refusals)"))
    assert statuses == ["bounced", "failed", "failed", "sent", "sent"]
    assert (tally.delivered, tally.unsent, tally.lost, tally.most) == (2, 3, 0, 1)
    suppressed = town.rows("SELECT email FROM suppressions")
    assert suppressed == [("unknown@example.com",)]
    assert town.send("unknown@example.com")["status"] == "suppressed"


def test_a_server_that_lets_nobody_in_is_left_alone_by_all_workers_and_found_again(town, tell):
    """F9"""
    # A server that dies amid the work looks at first like one that has enough connections.
    accepted = town.send_batch(100, "patient-first")
    town.wait_until_settled()
    town.sink.rule = lambda moment: Reply("554 5.3.2 not today", is_last=True) if moment.phase == "banner" else None
    before = town.sink.connections["opened"]
    town.sink.hang_up()
    accepted += town.send_many(20, "patient")
    wait_until(lambda: town.rows("SELECT 1 FROM route_breakers"), 30)
    wait_until(lambda: "smtp" in str(town.web().get("/readyz")["checks"]["routes"]), 30)
    time.sleep(1)
    # Whoever knocked before the others told it has had the answer.
    wait_until(lambda: not town.rows("SELECT 1 FROM messages WHERE status = 'sending'"))
    knocks, counted_at = town.sink.connections["opened"], time.monotonic()
    accepted += town.send_many(10, "patient-too")
    time.sleep(1.5)
    # One probe after each pause of the breaker, whatever waits; but for the first, a pause is of four seconds or more.
    probes = town.sink.connections["opened"] - knocks
    assert probes <= 2 + (time.monotonic() - counted_at) // 4, "somebody knocks at a server that lets nobody in"
    town.sink.rule = lambda moment: None
    town.let_time_pass()
    town.wait_until_settled(90)
    tally = town.tally(accepted)
    tell(tally.line("F9 (breaker)", knocks=knocks - before))
    assert (tally.delivered, tally.lost, tally.most) == (130, 0, 1)
    # A fault of the server burns no attempt of any message.
    assert town.rows("SELECT DISTINCT attempt_count FROM messages WHERE recipient_email LIKE 'patient-%%'") == [(1,)]
    wait_until(lambda: town.web().get("/readyz")["checks"]["routes"] == "ok", 30)


def test_lines_that_break_at_each_phase_cost_no_message_and_no_copy_too_many(town, tell):
    """F10"""
    town.sink.rule = turns = Turns(
        mail=[Drop(), Drop(is_abrupt=True)],
        rcpt=[Drop()],
        data=[Drop(), ReplyThenDrop("354 go on")],
        final=[ReplyThenDrop(TAKEN), ReplyThenDrop(TAKEN), TakenAndSilent(), Drop()],
    )
    accepted = town.send_many(40, "broken")
    wait_until(lambda: town.let_time_pass() or (turns.is_over() and town.open_count() == 0), 90, pause_seconds=0.5)
    tally = town.tally(accepted)
    tell(tally.line("F10 (drops)"))
    assert (tally.delivered, tally.lost) == (40, 0)
    # Only the one that was taken without a word came again.
    assert (tally.duplicated, tally.most) == (1, 2)
    assert set(town.statuses(accepted).values()) == {"sent"}


@pytest.mark.parametrize(
    "trap",
    [
        {"banner": [Stall()], "ehlo": [Drip("250 sink.example", pause_seconds=1)]},
        {"rcpt": [Drip("250 2.1.5 ok", pause_seconds=1), Stall()]},
        {"rcpt": [Flood("250-", octets=1_000_000_000)]},
        {"final": [Flood("451-", octets=1_000_000_000)]},
    ],
    ids=["silent banner", "dripping rcpt", "endless reply", "endless last reply"],
)
def test_a_server_that_wastes_time_gets_a_bounded_amount_of_it(town, tell, trap):
    """F10"""
    town.sink.hang_up()
    town.sink.rule = turns = Turns(**trap)
    accepted = town.send_many(24, "trapped")
    wait_until(lambda: town.let_time_pass() or (turns.is_over() and town.open_count() == 0), 90, pause_seconds=0.5)
    longest = _find_longest_attempt(town, accepted)
    tally = town.tally(accepted)
    tell(tally.line(f"F10 ({'/'.join(trap)})", longest_attempt_seconds=f"{longest:.1f}"))
    assert (tally.delivered, tally.lost, tally.most) == (24, 0, 1)
    assert longest < LEASE_SECONDS


def test_a_server_that_is_nearly_too_late_each_time_is_too_late_all_together(town, tell):
    """F10"""
    replies = {"banner": Late(GREETING), "ehlo": Late(EXTENSIONS), "mail": Late("250 2.1.0 ok")}
    slow_ports: set[int] = set()

    def rule(moment: Moment) -> Step | None:
        if moment.phase == "banner" and len(slow_ports) < 2:
            slow_ports.add(moment.port)
        return replies.get(moment.phase) if moment.port in slow_ports else None

    town.sink.hang_up()
    town.sink.rule = rule
    accepted = town.send_many(24, "late")
    wait_until(lambda: town.let_time_pass() or town.open_count() == 0, 60, pause_seconds=0.5)
    longest, tally = _find_longest_attempt(town, accepted), town.tally(accepted)
    tell(tally.line("F10 (late each time)", longest_attempt_seconds=f"{longest:.1f}"))
    assert (tally.delivered, tally.lost, tally.most) == (24, 0, 1)
    assert len(slow_ports) == 2
    assert MAIL_TIMEOUT_SECONDS < longest < LEASE_SECONDS


def _find_longest_attempt(town: Town, accepted) -> float:
    ids = [message["message_id_header"] for message in accepted]
    query = (
        "SELECT max(extract(epoch FROM a.finished_at - a.started_at))::float FROM delivery_attempts a "
        "JOIN messages m ON m.id = a.message_id WHERE message_id_header = ANY(%s)"
    )
    return town.rows(query, ids)[0][0]


def test_mail_that_cannot_be_made_stops_none_of_the_others(town, tell):
    """F13"""
    refused = [
        {"variables": {"name": "\ud800"}},
        {"variables": {"name": "x" * 10_000_000}},
        {"variables": {"name": {"a": 1}}},
        {"template": "nobody-made-this"},
    ]
    for body in refused:
        answer = town.web().call("POST", "/v1/messages", json={**welcome("poison@example.com"), **body})
        assert answer.status_code in {400, 404, 422}, answer.text
    # Held back until all of them are spoilt, as rows from another time could be.
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    gone = town.send("gone@example.com", send_at=later)
    unreadable = town.send("unreadable@example.com", send_at=later)
    strange = town.send("strange@example.com", send_at=later, locale="tlh")
    town.rows("UPDATE messages SET template = 'gone' WHERE id = %s RETURNING id", gone["id"])
    town.rows("UPDATE message_contents SET variables = 'spoilt' WHERE message_id = %s RETURNING 1", unreadable["id"])
    town.rows("UPDATE messages SET due_at = now() WHERE status = 'scheduled' RETURNING id")
    begun_at = time.monotonic()
    others = town.send_many(20, "other")
    wait_until(lambda: set(town.statuses(others).values()) == {"sent"}, 30)
    seconds = time.monotonic() - begun_at
    wait_until(lambda: town.open_count() <= 1, 30)
    # Whoever mends the cause can have the message after all.
    assert town.statuses([gone])[gone["message_id_header"]] == "failed"
    town.rows("UPDATE messages SET template = 'welcome' WHERE id = %s RETURNING id", gone["id"])
    assert town.web().call("POST", f"/v1/messages/{gone['id']}/retry").status_code == 200
    wait_until(lambda: town.sink.count(gone["message_id_header"]), 30)
    # A key that is missing now may be back soon, so this one is tried for three days; they are over.
    wait_until(lambda: town.statuses([unreadable])[unreadable["message_id_header"]] == "deferred", 30)
    town.rows(
        "UPDATE messages SET round_began_at = now() - interval '73 hours', due_at = now() WHERE id = %s RETURNING 1",
        unreadable["id"],
    )
    wait_until(lambda: town.statuses([unreadable])[unreadable["message_id_header"]] == "failed", 30)
    tally = town.tally([gone, unreadable, strange, *others])
    tell(tally.line("F13", others_seconds=f"{seconds:.1f}"))
    assert (tally.delivered, tally.unsent, tally.lost, tally.most) == (22, 1, 0, 1)


def test_tokens_overtake_a_burst_and_what_expired_is_never_sent_late(town, tell):
    """F14"""
    town.sink.rule = _slow
    bulk = town.send_batch(1000, "bulk", lane="bulk")
    dies_at = datetime.now(UTC) + timedelta(seconds=2)
    mortal = town.send_batch(50, "mortal", lane="bulk", expires_at=dies_at.isoformat())
    latencies, tokens = [], []
    for number in range(15):
        begun_at = time.monotonic()
        tokens.append(town.send(f"token-{number}@example.com", **PASSWORD_RESET))
        wait_until(lambda: town.sink.count(tokens[-1]["message_id_header"]), 30, pause_seconds=0.01)
        latencies.append(time.monotonic() - begun_at)
    waiting = town.open_count()
    town.sink.rule = usual
    town.wait_until_settled(90)
    tally = town.tally([*bulk, *mortal, *tokens])
    tell(tally.line("F14", slowest_token_seconds=f"{max(latencies):.2f}", bulk_still_waiting=waiting))
    assert (tally.accepted, tally.lost, tally.most) == (1065, 0, 1)
    assert waiting > 100, "the tokens had nothing to overtake"
    assert sorted(latencies)[len(latencies) // 2] < 1
    statuses = town.statuses(mortal)
    assert set(statuses.values()) <= {"expired", "sent"}
    assert "expired" in statuses.values()
    assert not [each for each, status in statuses.items() if status == "expired" and town.sink.count(each)]


def test_a_flood_of_one_address_by_one_client_stops_nobody_elses_mail(town, tell):
    """F18, of messages only: the quotas of public token requests are not there yet."""
    town.sink.rule = _slow
    other_key = town.house.create_client()
    flood = town.send_batch(400, "flood", lane="transactional")
    begun_at = time.monotonic()
    answer = town.web().call(
        "POST", "/v1/messages", json=welcome("victim@example.com"), headers={"Authorization": f"Bearer {other_key}"}
    )
    assert answer.status_code == 202, answer.text
    wait_until(lambda: town.sink.count(answer.json()["message_id_header"]), 60, pause_seconds=0.02)
    seconds = time.monotonic() - begun_at
    waiting = town.open_count()
    town.sink.rule = usual
    town.wait_until_settled(90)
    tally = town.tally([*flood, answer.json()])
    tell(tally.line("F18", seconds=f"{seconds:.1f}", flood_still_waiting=waiting))
    assert (tally.delivered, tally.lost, tally.most) == (401, 0, 1)
    assert waiting > 100, "there was no flood any more"


def _slow(moment: Moment) -> None:
    if moment.phase == "final":
        time.sleep(0.1)  # so that what waits is not gone before a busy machine comes to look
