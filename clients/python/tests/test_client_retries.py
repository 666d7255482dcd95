"""What is repeated, after which pause, and what is not: the rules, without a connection or a clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
from scripted import Answer, problem

import email_service_client as client
from email_service_client import EmailService, Retries
from email_service_client.answers import Message
from email_service_client.calls import Call, Line
from email_service_client.exchange import Lost, Outcome, Reply

LOST = Lost(reason="no answer", may_have_arrived=True)
UNSENT = Lost(reason="no connection", may_have_arrived=False)


def reply(answer: Answer) -> Reply:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return Reply(status=answer.status, headers=headers, content=answer.content)


AWAY = reply(problem("unavailable", 503))
BUSY = reply(problem("rate_limited", 429, Retry_After="2"))
IN_FLIGHT = reply(problem("idempotency_in_flight", 409, Retry_After="1"))
BROKEN = reply(problem("internal_error", 500))
CLASH = reply(problem("status_conflict", 409))
PROXY = reply(Answer(502, b"", "text/html"))
KEYED = Call("POST", "/v1/messages", Message, body={}, key="k")
BARE = Call("POST", "/v1/messages/{message_id}/cancel", Message, names={"message_id": "x"})
REPEATED = [
    (KEYED, [LOST, UNSENT, AWAY, BUSY, IN_FLIGHT, PROXY]),
    (Call("GET", "/v1/audit", Message), [LOST, UNSENT, AWAY, BUSY, PROXY]),
    (Call("PUT", "/v1/accounts/x", Message, body={}), [LOST, UNSENT, AWAY, BUSY, PROXY]),
    (Call("DELETE", "/v1/accounts/x", Message), [LOST, UNSENT, AWAY, BUSY, PROXY]),
    (BARE, [UNSENT, BUSY]),
    (Call("PATCH", "/v1/messages/x", Message, body={}), [UNSENT, BUSY]),
]
REFUSED = [
    (KEYED, [BROKEN, CLASH, reply(problem("invalid_input", 422)), reply(problem("token_used", 400))]),
    (BARE, [LOST, AWAY, PROXY, BROKEN, CLASH]),
]


class Talk:
    """A call whose replies a test makes up, and whose time passes only by its pauses."""

    def __init__(self, call: Call[Any], retries: Retries | None = None, each_takes: float = 0.0) -> None:
        self.at = 0.0
        self.each_takes = each_takes
        url = "https://mail.acme.example"
        line = Line(
            url=url, public_url=url, api_key="k", timeout_seconds=1, retries=retries or Retries(), now=lambda: self.at
        )
        self.conversation = call.talk(line)
        self.requests = [next(self.conversation)]

    @property
    def pauses(self) -> list[float]:
        return [request.after_seconds for request in self.requests[1:]]

    def hear(self, outcome: Outcome) -> None:
        self.at += self.each_takes
        request = self.conversation.send(outcome)
        self.at += request.after_seconds
        self.requests.append(request)

    def hear_until_the_end(self, outcome: Outcome) -> client.EmailServiceError:
        try:
            while True:
                self.hear(outcome)
        except client.EmailServiceError as error:
            return error


@pytest.mark.parametrize(("call", "outcome"), [(call, each) for call, outcomes in REPEATED for each in outcomes])
def test_what_can_be_repeated_is(call, outcome):
    talk = Talk(call)
    talk.hear(outcome)
    talk.hear(outcome)
    first, *others = talk.requests
    assert [(each.method, each.url, each.headers, each.content) for each in others] == [
        (first.method, first.url, first.headers, first.content)
    ] * 2
    with pytest.raises(StopIteration):
        talk.hear(reply(Answer()))


@pytest.mark.parametrize(("call", "outcome"), [(call, each) for call, outcomes in REFUSED for each in outcomes])
def test_what_cannot_be_repeated_is_told_at_once(call, outcome):
    talk = Talk(call)
    talk.hear_until_the_end(outcome)
    assert len(talk.requests) == 1


def test_pauses_grow_with_chance_in_them_and_come_to_an_end():
    runs = [Talk(KEYED) for _ in range(20)]
    for talk in runs:
        error = talk.hear_until_the_end(LOST)
        assert isinstance(error, client.ConnectionFailed)
        assert error.may_have_arrived
        assert talk.at <= 30
        assert all(later > earlier / 2 for earlier, later in pairwise(talk.pauses))
        assert max(talk.pauses) <= 8
    assert {len(talk.requests) for talk in runs} <= set(range(7, 14))
    assert len({talk.pauses[0] for talk in runs}) == len(runs)


def test_no_try_begins_after_the_time_that_the_caller_gave():
    talk = Talk(KEYED, Retries(total_seconds=5), each_takes=2)
    talk.hear_until_the_end(AWAY)
    assert talk.at <= 5 + 2
    once = Talk(KEYED, Retries(total_seconds=0))
    once.hear_until_the_end(AWAY)
    assert len(once.requests) == 1


@pytest.mark.parametrize("told", ["2", lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)])
def test_the_service_says_when_to_come_back(told):
    talk = Talk(KEYED)
    talk.hear(reply(problem("rate_limited", 429, Retry_After=told if isinstance(told, str) else told())))
    assert 1.9 <= talk.pauses[0] <= 4


def test_whoever_would_have_to_wait_too_long_is_told_at_once():
    talk = Talk(KEYED)
    error = talk.hear_until_the_end(reply(problem("rate_limited", 429, Retry_After="3600")))
    assert (len(talk.requests), error.retry_after) == (1, 3600)


def test_a_refresh_token_is_not_presented_again_when_that_would_end_the_session():
    """T26: after 30 seconds the service takes it for stolen."""
    with EmailService("https://mail.acme.example") as service:
        call = type(service.public).__dict__["refresh"].build(service.public, "x", reader_ip=None)
    talk = Talk(call, Retries(total_seconds=3600), each_takes=9)
    talk.hear_until_the_end(LOST)
    assert len(talk.requests) == 3
    assert talk.at - 9 <= 20


def test_a_code_that_was_shown_is_not_shown_again():
    with EmailService("https://mail.acme.example") as service:
        consume = type(service.public).__dict__["consume"].build
        code = consume(service.public, "login_code", email="a@b.example", code="123456", reader_ip=None)
        token = consume(service.public, "magic_link", "x", reader_ip=None)
    for call, tries in ((code, 1), (token, 2)):
        talk = Talk(call, Retries(total_seconds=1.0, first_pause_seconds=0.9))
        talk.hear_until_the_end(LOST)
        assert len(talk.requests) == tries
