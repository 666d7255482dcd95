"""What a monitoring system reads: how mail stands, and what was counted of messages, tokens, quotas and requests."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from email_service.delivery import outbox
from email_service.delivery.breaker import Breakers
from email_service.delivery.transport import Outcome, Phase, Report
from email_service.kernel.errors import InvalidInputError
from email_service.web import metrics
from tests.applications import WELCOME, Api
from tests.scripted_transport import ACCEPTED, Scripted
from tests.strangers import ADA, Stranger, answer_requests, put_account

PREFIX = "email_service_"
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


class Scrape:
    """The samples of one answer, and the difference to an earlier one."""

    def __init__(self, house):
        with house.app.test_client() as client:
            answer = client.get("/metrics")
        assert (answer.status_code, answer.mimetype) == (200, "text/plain")
        families = list(text_string_to_metric_families(answer.get_data(as_text=True)))
        self.samples = {(s.name, frozenset(s.labels.items())): s.value for each in families for s in each.samples}

    def get(self, name: str, **labels: str) -> float:
        """The sum of all that has these labels."""
        wanted = labels.items()
        found = [
            value
            for (known, of), value in self.samples.items()
            if known == PREFIX + name and wanted <= dict(of).items()
        ]
        return sum(found)


@pytest.fixture(autouse=True)
def _each_scrape_looks(monkeypatch):
    monkeypatch.setattr(metrics, "KEPT_SECONDS", 0.0)


@pytest.fixture
def grown(house):
    """By how much a count has grown since the test began."""
    before = Scrape(house)
    return lambda name, **labels: Scrape(house).get(name, **labels) - before.get(name, **labels)


def test_an_idle_service_has_its_route_up_and_nothing_waiting(house):
    figures = Scrape(house)
    assert figures.get("database_up") == 1
    assert figures.get("route_up", route="capture") == 1
    assert figures.get("oldest_due_seconds", lane="token") == 0
    assert figures.get("due_messages") == 0


def test_an_open_breaker_and_a_waiting_message_show(house, api):
    """F9"""
    Breakers(house.sessions).trip("capture", "the door is shut")
    api.send(lane="bulk")
    house.execute("UPDATE messages SET due_at = '2026-01-01 00:00:00.000000'")
    figures = Scrape(house)
    assert figures.get("route_up", route="capture") == 0
    assert figures.get("oldest_due_seconds", lane="bulk") > 1000
    assert figures.get("oldest_due_seconds", lane="transactional") == 0
    assert figures.get("due_messages", lane="bulk") == 1


def test_only_what_is_due_waits_and_each_client_counts(either):
    first, second = Api(either, either.add_client("one")), Api(either, either.add_client("two"))
    for api in (first, second, second):
        assert api.send().status_code == 202
    first.send(send_at=LATER)
    assert Scrape(either).get("due_messages", lane="transactional") == 3
    either.claim(limit=2)
    assert Scrape(either).get("due_messages", lane="transactional") == 1
    assert Scrape(either).get("due_messages", lane="bulk") == 0


def test_many_who_scrape_ask_the_database_once(house, api, monkeypatch):
    monkeypatch.setattr(metrics, "KEPT_SECONDS", 60.0)
    before = Scrape(house).get("due_messages")
    api.send()
    assert Scrape(house).get("due_messages") == before


def test_a_crowd_of_one_client_is_counted_to_a_bound(api, monkeypatch):
    for _ in range(3):
        api.send()
    monkeypatch.setattr(outbox, "COUNT_BOUND", 2)
    assert Scrape(api.house).get("due_messages", lane="transactional") == 2


def test_without_a_database_the_scrape_says_so(house, api):
    """F4"""
    house.execute("ALTER TABLE route_breakers RENAME TO elsewhere")
    try:
        figures = Scrape(house)
    finally:
        house.execute("ALTER TABLE elsewhere RENAME TO route_breakers")
    assert figures.get("database_up") == 0
    assert (PREFIX + "route_up", frozenset({("route", "capture")})) not in figures.samples
    assert figures.get("http_request_seconds_count") > 0


def test_what_happens_to_a_message_is_counted_by_lane_template_and_route(house, api, grown):
    welcome = {"lane": "transactional", "template": "welcome"}
    api.send()
    house.deliver(Scripted([ACCEPTED]))
    assert grown("messages_total", event="accepted", route="", **welcome) == 1
    assert grown("messages_total", event="sent", route="capture", **welcome) == 1
    assert grown("handover_seconds_count", lane="transactional") == 1
    assert grown("handover_seconds_bucket", lane="transactional", le="30.0") == 1
    assert grown("smtp_seconds_count", route="capture", reply="2xx") == 1


@pytest.mark.parametrize(
    ("event", "reply", "report"),
    [
        ("deferred", "4xx", Report(outcome=Outcome.RETRY_LATER, phase=Phase.RCPT, code=450)),
        ("deferred", "none", Report(outcome=Outcome.RETRY_LATER, phase=Phase.DATA)),
        ("bounced", "5xx", Report(outcome=Outcome.REFUSED, phase=Phase.RCPT, code=550, enhanced_code="5.1.1")),
        ("failed", "5xx", Report(outcome=Outcome.REFUSED, phase=Phase.FINAL, code=554)),
        ("failed", "none", Report(outcome=Outcome.REFUSED, phase=Phase.MAIL, code=999_999)),
        ("uncertain", "none", Report(outcome=Outcome.UNCERTAIN, phase=Phase.FINAL)),
    ],
)
def test_an_attempt_is_counted_by_its_reply(api, grown, event, reply, report):
    api.send()
    api.house.deliver(Scripted([report]))
    assert grown("messages_total", event=event, route="capture") == 1
    assert grown("messages_total", event="sent") == 0
    assert grown("handover_seconds_count") == 0
    assert grown("smtp_seconds_count", route="capture", reply=reply) == grown("smtp_seconds_count") == 1


def test_what_never_met_a_server_counts_no_reply(house, api, grown):
    api.send()
    house.deliver(Scripted([InvalidInputError("no")]))
    assert grown("messages_total", event="failed") == 1
    assert grown("smtp_seconds_count") == 0


def test_what_ends_without_an_attempt_is_counted(house, api, grown):
    api.request("PUT", "/v1/suppressions/eve@example.com", json={"reason": "manual"})
    api.send(to="eve@example.com")
    cancelled = api.send(send_at=LATER).json["id"]
    api.post(f"/v1/messages/{cancelled}/cancel")
    api.send()
    house.execute("UPDATE messages SET expires_at = '2026-01-01 00:00:00.000000' WHERE status = 'queued'")
    house.deliver(Scripted([ACCEPTED]))
    for event in ("suppressed", "cancelled", "expired"):
        assert grown("messages_total", event=event, template="welcome", route="") == 1
    assert grown("messages_total", event="accepted") == 3


def test_each_message_of_a_batch_counts_and_a_replay_does_not(api, grown):
    body = {"messages": [WELCOME, WELCOME, {**WELCOME, "template": "nothing"}]}
    for _ in range(2):
        assert api.post("/v1/messages/batch", json=body, headers={"Idempotency-Key": "k"}).status_code == 200
        assert api.send(key="k").status_code == 202
    assert grown("messages_total", event="accepted") == 3


def test_what_is_undone_is_not_counted(on_postgres):
    house = on_postgres.house
    before = Scrape(house)
    house.execute("ALTER TABLE idempotency_records RENAME COLUMN answer TO told")
    try:
        assert on_postgres.post("/v1/messages/batch", json={"messages": [WELCOME]}).status_code == 200
        assert on_postgres.send(key="k").status_code == 500
        batch = {"messages": [WELCOME]}
        assert on_postgres.post("/v1/messages/batch", json=batch, headers={"Idempotency-Key": "k"}).status_code == 500
    finally:
        house.execute("ALTER TABLE idempotency_records RENAME COLUMN told TO answer")
    assert Scrape(house).get("messages_total", event="accepted") - before.get("messages_total", event="accepted") == 1


def test_a_mail_whose_place_a_newer_one_took_is_counted(house, api, grown):
    order = {"purpose": "password_reset", "subject": "u-1", "email": ADA}
    for _ in range(2):
        assert api.post("/v1/tokens", json=order).status_code == 201
    reset = {"template": "password-reset", "lane": "token"}
    assert (
        grown("messages_total", event="superseded", **reset) == grown("messages_total", event="expired", **reset) == 1
    )


def test_tokens_are_counted_by_purpose_and_outcome(house, api, grown):
    order = {"purpose": "magic_link", "subject": "u-1", "email": ADA, "deliver": False}
    token = api.post("/v1/tokens", json=order).json["token"]
    assert api.post("/v1/tokens", json={**order, "email": None}).status_code == 404
    shown = {"purpose": "magic_link", "token": token}
    for path in ("/v1/tokens/consume", "/v1/tokens/consume", "/public/v1/tokens/consume"):
        api.post(path, json=shown)
    api.post("/v1/tokens/consume", json={**shown, "token": "x" * 43}, headers={"Idempotency-Key": "k"})
    of = {"purpose": "magic_link"}
    assert grown("token_issues_total", outcome="issued", **of) == 1
    assert grown("token_issues_total", outcome="account_unknown", **of) == 1
    assert grown("token_redemptions_total", outcome="redeemed", **of) == 1
    assert grown("token_redemptions_total", outcome="token_used", **of) == 2
    assert grown("token_redemptions_total", outcome="token_invalid", **of) == 1


def test_followed_redemptions_and_repeated_ones_are_counted(house, api, grown):
    order = {"purpose": "email_verification", "subject": "u-1", "email": ADA, "deliver": False}
    shown = {"purpose": "email_verification", "token": api.post("/v1/tokens", json=order).json["token"]}
    for _ in range(2):
        answer = api.post("/public/v1/tokens/consume", json=shown, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
    assert grown("token_redemptions_total", purpose="email_verification", outcome="redeemed") == 1
    assert grown("token_redemptions_total", purpose="email_verification", outcome="repeated") == 1


def test_what_strangers_ask_for_is_counted_when_it_is_answered(house, grown):
    stranger = Stranger(house)
    put_account(house)
    stranger.ask()
    stranger.ask(email="nobody@example.com")
    assert grown("token_issues_total") == 0
    answer_requests(house)
    assert grown("token_issues_total", purpose="password_reset", outcome="issued") == 1
    assert grown("token_issues_total", purpose="password_reset", outcome="account_unknown") == 1
    assert grown("messages_total", event="accepted", lane="token", template="password-reset") == 1


def test_quota_hits_are_counted_by_what_was_used_up(house, grown):
    key = house.add_client("slow", rate_limit="1/minute")
    for _ in range(3):
        Api(house, key).get("/v1/templates")
    assert grown("quota_hits_total", scope="api") == 2


def test_requests_are_counted_by_pattern_and_never_by_what_callers_say(house, api, grown):
    """T27"""
    api.get("/v1/suppressions/ada@example.com")
    api.get(f"/v1/messages/{'0' * 8}-0000-7000-8000-{'0' * 12}")
    api.request("BREW", "/v1/messages")
    api.request("BREW", "/pot")
    api.get("/nowhere/ada@example.com")
    for endpoint in ("/v1/suppressions/<path:email>", "/v1/messages/<uuid:message_id>"):
        assert grown("http_request_seconds_count", method="GET", endpoint=endpoint, status="4xx") == 1
    assert grown("http_request_seconds_count", method="none", endpoint="none", status="4xx") == 3
    text = str(Scrape(house).samples)
    assert not [each for each in ("ada@", "BREW", "/pot", "nowhere") if each in text]


def test_the_public_half_has_no_metrics(reopen):
    """T30"""
    house = reopen(EXPOSE="public")
    with house.app.test_client() as client:
        assert client.get("/metrics").status_code == 404
