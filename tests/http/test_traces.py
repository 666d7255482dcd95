"""Spans from the call over the worker to the attempt, kept in memory, and what never stands in one."""

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from email_service.delivery import breaker
from email_service.kernel.spans import Spans
from email_service.kernel.traces import NoTraces
from tests.applications import PASSWORD_RESET, WELCOME, Api
from tests.scripted_transport import ACCEPTED, DOWN, Scripted
from tests.strangers import ADA, Stranger, answer_requests, put_account

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = int(PARENT[3:35], 16), int(PARENT[36:52], 16)


@pytest.fixture
def spans(house):
    """What was traced, oldest end first."""
    kept = InMemorySpanExporter()
    house.parts.traces = Spans(SimpleSpanProcessor(kept))
    yield kept.get_finished_spans
    house.parts.traces = NoTraces()


def test_an_attempt_belongs_to_the_call_that_its_message_came_by(house, api, spans):
    accepted = api.post("/v1/messages", json=WELCOME, headers={"traceparent": PARENT, "X-Request-ID": "r-1"})
    house.deliver(Scripted([ACCEPTED]))
    call, attempt = spans()
    assert (call.name, call.kind) == ("POST /v1/messages", SpanKind.SERVER)
    assert (call.context.trace_id, call.parent.span_id) == (TRACE, SPAN)
    expected = {"http.request.method": "POST", "http.route": "/v1/messages", "http.response.status_code": 202}
    assert dict(call.attributes) == {**expected, "request_id": "r-1"}
    assert (attempt.name, attempt.kind) == ("smtp.send", SpanKind.CLIENT)
    assert (attempt.context.trace_id, attempt.parent.span_id) == (TRACE, call.context.span_id)
    assert attempt.attributes["message_id"] == accepted.json["id"]
    assert {"route", "lane", "template", "phase", "outcome", "code"} <= set(attempt.attributes)
    assert attempt.end_time >= attempt.start_time >= call.end_time


def test_each_try_is_a_span_and_a_failed_one_says_so(house, api, spans, monkeypatch):
    monkeypatch.setattr(breaker, "PAUSE_SECONDS", (3600.0,))  # no third try
    api.send()
    house.deliver(Scripted([DOWN]))
    house.execute("UPDATE messages SET due_at = '2026-01-01 00:00:00.000000'")
    house.execute("DELETE FROM route_breakers")
    house.deliver(Scripted([ACCEPTED]))
    _, first, second = spans()
    assert [each.status.status_code for each in (first, second)] == [StatusCode.ERROR, StatusCode.UNSET]
    assert first.parent == second.parent
    assert "code" not in first.attributes


def test_token_mail_belongs_to_the_call_of_the_stranger_who_asked(house, spans):
    put_account(house)
    Stranger(house).ask()
    answer_requests(house)
    house.deliver(Scripted([ACCEPTED]))
    call, attempt = spans()
    assert attempt.parent.span_id == call.context.span_id


def test_a_stranger_does_not_decide_what_belongs_together(house, spans):
    """T16: only callers of the internal API are believed."""
    headers = {"traceparent": PARENT}
    Stranger(house).request("POST", "/public/v1/tokens", json={}, headers=headers)
    Api(house, "nobody's").get("/pages/nowhere", headers=headers)
    assert [span.parent for span in spans()] == [None, None]
    assert TRACE not in [span.context.trace_id for span in spans()]


@pytest.mark.parametrize("told", ["", "00-x-y-01", PARENT + "\u00e9", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_cannot_be_read_is_none(api, spans, told):
    assert api.get("/v1/templates", headers={"traceparent": told}).status_code == 200
    assert [span.parent for span in spans()] == [None]


def test_no_span_holds_an_address_a_path_or_a_strangers_word(house, api, spans):
    """T27"""
    api.send(**PASSWORD_RESET)
    api.get(f"/v1/suppressions/{ADA}", query_string={"recipient": ADA})
    api.request("BREW", f"/pot/{ADA}")
    api.get("/v1/nothing")
    house.deliver(Scripted([RuntimeError(f"cannot mail {ADA}")]))
    text = "\n".join(span.to_json() for span in spans())
    assert len(spans()) == 5
    assert [each for each in ("ada", "BREW", "pot", "nothing", "Zk3vX1mQ8r", "cannot mail") if each in text] == []
    assert {span.name for span in spans()} >= {"GET /v1/suppressions/<path:email>", "HTTP", "smtp.send"}


def test_a_server_error_is_an_error_of_the_call(house, api, spans):
    house.execute("ALTER TABLE messages RENAME TO elsewhere")
    try:
        assert api.get("/v1/messages").status_code >= 500
    finally:
        house.execute("ALTER TABLE elsewhere RENAME TO messages")
    [call] = spans()
    assert call.status.status_code is StatusCode.ERROR


def test_nobody_is_followed_unless_somebody_asked(house, api):
    message_id = api.send().json["id"]
    row = house.message(message_id)
    assert (row.trace_parent, bool(row.request_id)) == (None, True)
