"""Where an answer is lost, or the service cannot give one yet: both clients, over real connections."""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from faces import Face
from scripted import Answer, answering, problem
from test_client_calls import WELCOME

import email_service_client as client
from email_service_client import EmailService, Retries
from tests.journeys.processes import wait_until

QUICK = Retries(first_pause_seconds=0.02, longest_pause_seconds=0.05)


def test_a_key_of_the_caller_is_used_and_every_call_has_one_of_its_own(face):
    with answering(Answer(200, b"{}")) as stranger:
        for key in (None, None, "order-42"):
            with pytest.raises(client.UnexpectedAnswer):
                face.ask(
                    lambda service, key=key: service.messages.send(**WELCOME, to="a@b.example", idempotency_key=key),
                    url=stranger.url,
                )
    first, second, mine = stranger.keys()
    assert mine == "order-42"
    assert len({first, second, mine}) == 3
    assert len(first) >= 22


def test_both_clients_wait_and_repeat_with_the_same_key(face):
    answers = [
        problem("unavailable", 503),
        Answer(is_lost=True),
        problem("idempotency_in_flight", 409),
        Answer(502, b"", "text/html"),
    ]
    with answering(*answers, problem("invalid_input", 422)) as stranger, pytest.raises(client.InvalidInput):
        face.ask(lambda service: service.messages.send(**WELCOME, to="a@b.example"), url=stranger.url, retries=QUICK)
    assert len(stranger.requests) == 5
    assert len(set(stranger.keys())) == 1
    assert len({content for *_, content in stranger.requests}) == 1


def lose_an_answer(face: Face, turnstile, sign: bytes, act: Callable[[Any], Any], is_done: Callable[[], Any]) -> Any:
    """What a call comes to whose first answer is lost after the service has done it."""
    turnstile.hold(sign)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            face.ask, act, url=f"http://127.0.0.1:{turnstile.port}", public_url=f"http://127.0.0.1:{turnstile.port}"
        )
        try:
            assert turnstile.held.wait(30)
            wait_until(is_done)
        finally:
            turnstile.drop()
        return asked.result(60)


def test_a_message_whose_answer_was_lost_is_sent_once(face, service, turnstile):
    """F3"""
    reference = secrets.token_hex(8)
    sent = lose_an_answer(
        face,
        turnstile,
        b"POST /v1/messages",
        lambda service: service.messages.send(**WELCOME, to="a@example.com", client_reference=reference),
        lambda: list(service.messages.list(client_reference=reference)),
    )
    [accepted] = service.messages.list(client_reference=reference)
    assert accepted.id == sent.id


def test_a_batch_whose_answer_was_lost_is_sent_once(face, service, turnstile):
    """F3"""
    tag = secrets.token_hex(8)
    messages = [{**WELCOME, "to": f"{name}@example.com", "tags": [tag]} for name in "ab"]
    sent = lose_an_answer(
        face,
        turnstile,
        b"POST /v1/messages/batch",
        lambda service: service.messages.send_batch(messages),
        lambda: list(service.messages.list(tag=tag)),
    )
    assert {item.message.id for item in sent.data} == {message.id for message in service.messages.list(tag=tag)}
    assert len(list(service.messages.list(tag=tag))) == 2


@pytest.mark.parametrize("is_public", [False, True])
def test_a_token_whose_redemption_was_not_heard_of_is_redeemed(face, service, turnstile, is_public):
    """F3, T6: whoever asked gets the answer; another call gets none."""
    subject = secrets.token_hex(8)
    token = service.tokens.issue(purpose="password_reset", subject=subject, email="a@example.com", deliver=False).token

    def consume(service: Any) -> Any:
        if is_public:
            return service.public.consume("password_reset", token, reader_ip="192.0.2.1")
        return service.tokens.consume("password_reset", token)

    def is_used() -> bool:
        try:
            service.tokens.verify("password_reset", token)
        except client.TokenUsed:
            return True
        return False

    assert lose_an_answer(face, turnstile, b"/v1/tokens/consume", consume, is_used).subject == subject
    with pytest.raises(client.TokenUsed):
        face.ask(consume)


def test_a_refresh_whose_answer_was_lost_keeps_the_session(face, service, turnstile):
    """T26"""
    subject = secrets.token_hex(8)
    service.accounts.put(subject, email=f"{subject}@example.com")
    started = service.sessions.create(subject=subject)
    [before] = service.sessions.list(subject)
    pair = lose_an_answer(
        face,
        turnstile,
        b"/sessions/refresh",
        lambda service: service.public.refresh(started.refresh_token, reader_ip=None),
        lambda: next(service.sessions.list(subject)).last_used_at > before.last_used_at,
    )
    assert face.ask(lambda service: service.public.refresh(pair.refresh_token, reader_ip=None)).expires_in
    assert len(list(service.sessions.list(subject))) == 1


def test_what_is_not_idempotent_is_left_to_the_caller(face, service, turnstile):
    """The cancellation was done; a second one would be a conflict, which is not what happened."""
    sent = service.messages.send(**WELCOME, to="a@example.com", send_at=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(client.ConnectionFailed) as failed:
        lose_an_answer(
            face,
            turnstile,
            f"/v1/messages/{sent.id}/cancel".encode(),
            lambda service: service.messages.cancel(sent.id),
            lambda: service.messages.get(sent.id).status == "cancelled",
        )
    assert failed.value.may_have_arrived
    assert [event.name for event in service.messages.events(sent.id)].count("message.cancelled") == 1


def test_a_call_that_nobody_answers_ends_by_its_timeout(face, turnstile):
    turnstile.hold(b"/v1/templates")
    with pytest.raises(client.ConnectionFailed, match="ReadTimeout"):
        face.ask(
            lambda service: service.templates.list(),
            url=f"http://127.0.0.1:{turnstile.port}",
            timeout=2.5,  # to connect, too
            retries=Retries(total_seconds=0.5),
        )


def test_a_limit_that_is_full_for_a_moment_is_waited_out(face, installation, web):
    made = installation.command(
        "client", "create", secrets.token_hex(4), "--scope", "*", "--rate-limit", "1/second", "--json"
    )
    key = made.stdout.partition("esk_")[2].partition('"')[0]
    quiet = Face(face.url, f"esk_{key}", face.is_blocking)
    assert len([quiet.ask(lambda service: service.templates.get("welcome")) for _ in range(3)]) == 3


def test_threads_may_share_one(web):
    barrier = threading.Barrier(8)
    with EmailService(web.url, web.api_key) as service, ThreadPoolExecutor(8) as pool:

        def send(number: int) -> str:
            barrier.wait()
            return service.messages.send(**WELCOME, to=f"{number}@example.com").id

        assert len(set(pool.map(send, range(8)))) == 8
