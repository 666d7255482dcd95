"""What is read out of a server's words, and what is kept of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_service.delivery.smtp_reply import MAX_RETRY_AFTER_SECONDS, Reply, printable


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 no such user", "5.1.1"),
        (550, "5.1.1 The account does not exist. 5.1.1 https://example.com", "5.1.1"),
        (550, "Mailbox unavailable (#5.2.1)", "5.2.1"),
        (250, "2.0.0 queued as 4", "2.0.0"),
        (550, "4.2.2 wrong class", None),
        (450, "4.2.2 over quota, was 5.1.1", "4.2.2"),
        (554, "Client host [5.1.1.1] blocked", None),
        (554, "Client host 15.1.1 blocked", None),
        (554, "5.7.606 Access denied, banned sending IP [5.7.1.2]", "5.7.606"),
        (550, "", None),
    ],
)
def test_the_enhanced_code_is_the_one_that_agrees_with_the_reply(code, text, expected):
    assert Reply.read(code, text.encode()).enhanced_code == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.7.1 Greylisted, please try again in 300 seconds", 300),
        ("Greylisting in action, please come back in 00:04:59", 299),
        ("try again after 5 min", 300),
        ("Please retry in 2 hours", 7200),
        ("rate limited, wait 30s", 30),
        ("Greylisted for about 1 minute", 60),
        ("try again in 99999999 seconds", None),
        ("try again in 9999999 hours", MAX_RETRY_AFTER_SECONDS),
        ("try again in 0 seconds", None),
        ("try again later", None),
        ("Timeout exceeded after 300 seconds of idleness", None),
        ("4.3.2 not accepting messages", None),
    ],
)
def test_a_wish_to_be_tried_later_is_understood(text, expected):
    """F6"""
    assert Reply.read(451, text.encode()).retry_after_seconds == expected


@pytest.mark.parametrize("code", [250, 354, 550])
def test_only_a_transient_refusal_can_ask_for_another_try(code):
    assert Reply.read(code, b"try again in 300 seconds").retry_after_seconds is None


@given(st.binary(max_size=6000), st.sampled_from([250, 421, 451, 550]))
def test_any_octets_become_one_short_printable_line(octets, code):
    """F10: replies are hostile input"""
    reply = Reply.read(code, octets)
    assert len(reply.text) <= 500
    assert reply.text.isprintable()
    assert reply.retry_after_seconds is None or 0 < reply.retry_after_seconds <= MAX_RETRY_AFTER_SECONDS
    assert reply.enhanced_code is None or reply.enhanced_code[0] == str(code)[0]


def test_secrets_are_taken_out_before_the_text_is_cut():
    """T27"""
    text = "x" * 495 + "secret"
    assert "secre" not in printable(text, ["secret"])
