"""What follows from each outcome of an attempt, as tables."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_service.delivery import retry
from email_service.delivery.retry import History, decide
from email_service.delivery.transport import Outcome, Phase, Report

DELAYS = (2, 4, 8, 60, 300, 900, 3600, 7200, 14400, 28800)
FRESH = History(age_seconds=0, attempt_count=0, uncertain_count=0, pause_seconds=20.0, holds_when_uncertain=False)
HOURS = 3600


def report(outcome: Outcome, **fields) -> Report:
    return Report(**{"outcome": outcome, "phase": Phase.RCPT, **fields})


def refusal(code: int | None, enhanced: str | None = None, reply: str = "") -> Report:
    return report(Outcome.REFUSED, code=code, enhanced_code=enhanced, reply=reply)


def delay_after(failures: int, **fields) -> float | None:
    """The next delay after so many failures, this one included, without jitter."""
    history = replace(FRESH, attempt_count=failures - 1)
    return decide(report(Outcome.RETRY_LATER, **fields), history, DELAYS, 0.0).delay_seconds


def test_a_message_that_was_taken_is_sent_and_never_looked_at_again():
    decision = decide(report(Outcome.ACCEPTED, phase=Phase.FINAL), FRESH, DELAYS, 0.5)
    assert (decision.status, decision.delay_seconds, decision.suppresses) == ("sent", None, False)


@pytest.mark.parametrize(("failures", "seconds"), [*enumerate(DELAYS, start=1), (11, 28800), (12, 28800)])
def test_the_delays_follow_the_schedule_and_then_repeat_its_last(failures, seconds):
    """F6"""
    assert delay_after(failures) == seconds


def test_a_message_is_tried_for_72_hours_and_then_failed():
    young = decide(report(Outcome.RETRY_LATER), replace(FRESH, age_seconds=72 * HOURS - 1), DELAYS, 0.0)
    old = decide(report(Outcome.RETRY_LATER), replace(FRESH, age_seconds=72 * HOURS), DELAYS, 0.0)
    assert young.status == "deferred"
    assert (old.status, old.delay_seconds, old.reason) == ("failed", None, "retries_used_up")
    assert not old.suppresses


@pytest.mark.parametrize(
    ("failures", "suggested", "seconds"),
    [
        (1, 300, 300),  # greylisting: longer than our two seconds
        (7, 10, 3600),  # shorter than ours: ours is kinder
        (1, 10**9, 24 * HOURS),  # a server that wants us never to come back
    ],
)
def test_a_servers_own_suggestion_is_obeyed_within_a_day(failures, suggested, seconds):
    """F6"""
    assert delay_after(failures, retry_after_seconds=suggested) == seconds


@given(jitter=st.floats(0, 1), failures=st.integers(1, 12))
def test_jitter_only_lengthens_a_delay_and_by_a_tenth_at_most(jitter, failures):
    history = replace(FRESH, attempt_count=failures - 1)
    delay = decide(report(Outcome.RETRY_LATER), history, DELAYS, jitter).delay_seconds
    assert delay_after(failures) <= delay <= delay_after(failures) * 1.1


def test_a_deferral_burns_an_attempt_and_a_fault_of_the_transport_does_not():
    """F9"""
    deferral = decide(report(Outcome.RETRY_LATER), FRESH, DELAYS, 0.0)
    fault = decide(report(Outcome.RETRY_LATER, is_transport_fault=True), FRESH, DELAYS, 0.0)
    assert (deferral.status, deferral.counts_attempt) == ("deferred", True)
    assert (fault.status, fault.counts_attempt, fault.reason) == ("deferred", False, "transport_unavailable")
    assert fault.delay_seconds == FRESH.pause_seconds


def test_a_fault_of_a_transport_that_has_a_substitute_delays_nothing():
    """F9"""
    fault = report(Outcome.RETRY_LATER, is_transport_fault=True, retry_after_seconds=60)
    decision = decide(fault, replace(FRESH, pause_seconds=0.0), DELAYS, 0.5)
    assert (decision.delay_seconds, decision.counts_attempt, decision.reason) == (0.0, False, "another_way")


def test_a_message_that_no_server_would_take_for_72_hours_ends_too():
    """F9"""
    fault = report(Outcome.RETRY_LATER, is_transport_fault=True)
    assert decide(fault, replace(FRESH, attempt_count=10_000), DELAYS, 0.0).status == "deferred"
    assert decide(fault, replace(FRESH, age_seconds=72 * HOURS), DELAYS, 0.0).status == "failed"


def test_an_uncertain_message_is_tried_once_more_after_a_pause_and_then_held():
    """F10"""
    lost = report(Outcome.UNCERTAIN, phase=Phase.FINAL)
    first = decide(lost, FRESH, DELAYS, 0.0)
    second = decide(lost, replace(FRESH, uncertain_count=1), DELAYS, 0.0)
    assert (first.status, first.delay_seconds) == ("uncertain", retry.UNCERTAIN_PAUSE_SECONDS)
    assert (second.status, second.delay_seconds) == ("uncertain", None)


def test_an_uncertain_message_is_held_at_once_when_its_template_says_so():
    """F10"""
    decision = decide(report(Outcome.UNCERTAIN), replace(FRESH, holds_when_uncertain=True), DELAYS, 0.0)
    assert (decision.status, decision.delay_seconds, decision.reason) == ("uncertain", None, "held_as_uncertain")


@pytest.mark.parametrize("enhanced", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"])
def test_an_address_that_does_not_exist_bounces_and_is_suppressed(enhanced):
    """F9"""
    decision = decide(refusal(550, enhanced, "go away"), FRESH, DELAYS, 0.0)
    assert (decision.status, decision.suppresses, decision.reason) == ("bounced", True, "address_unknown")


@pytest.mark.parametrize(
    ("code", "enhanced", "reply"),
    [
        (550, "5.7.1", "message refused, user unknown to our policy"),  # the code decides, not the words
        (554, "5.7.26", "DMARC"),
        (552, "5.2.2", "mailbox full"),
        (552, "5.3.4", "too big"),
        (550, None, "blocked by our policy"),
        (554, None, "user unknown"),  # 554 is about the whole transaction
        (None, None, "The template does not exist"),  # never left the house
    ],
)
def test_a_refused_message_fails_and_its_address_stays_good(code, enhanced, reply):
    """F9"""
    decision = decide(refusal(code, enhanced, reply), FRESH, DELAYS, 0.0)
    assert (decision.status, decision.suppresses) == ("failed", False)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.DATA, Phase.CONTENT])
def test_a_refused_sender_is_not_blamed_on_the_recipient(phase):
    """F9"""
    refused = replace(refusal(550, "5.1.1", "sender address rejected: user unknown"), phase=phase)
    decision = decide(refused, FRESH, DELAYS, 0.0)
    assert (decision.status, decision.suppresses) == ("failed", False)


@pytest.mark.parametrize("code", [550, 551, 553])
@pytest.mark.parametrize("reply", ["User unknown", "no such user here", "The mailbox does not exist"])
def test_a_server_without_enhanced_codes_is_taken_at_its_words(code, reply):
    """F9"""
    assert decide(refusal(code, None, reply), FRESH, DELAYS, 0.0).status == "bounced"


def test_what_never_left_the_house_is_not_blamed_on_a_server():
    """F13"""
    decision = decide(report(Outcome.REFUSED, phase=Phase.PREPARE), FRESH, DELAYS, 0.0)
    assert (decision.status, decision.reason) == ("failed", "cannot_be_made")
