"""Every move between statuses: the allowed ones, and that all others are refused."""

from itertools import product

import pytest

from email_service.kernel import clock
from email_service.kernel.errors import StatusConflictError
from email_service.messages import state
from email_service.messages.models import Message, MessageContent
from email_service.messages.state import Status

# DESIGN.md, section 5, written out: what a message may become.
MOVES = {
    "scheduled": "sending queued cancelled expired suppressed",
    "queued": "sending scheduled suppressed cancelled expired",
    "deferred": "sending queued scheduled cancelled expired",
    "sending": "sent deferred uncertain bounced failed expired suppressed",
    "uncertain": "sending queued",
    "sent": "delivered bounced complained",
    "delivered": "bounced complained",
    "bounced": "queued",
    "complained": "",
    "suppressed": "",
    "failed": "queued",
    "expired": "queued",
    "cancelled": "",
}
PAIRS = list(product(Status, Status))


def message_that_is(status: Status, *, is_sensitive: bool = False) -> Message:
    return Message(
        status=status,
        is_sensitive=is_sensitive,
        content=MessageContent(variables=b"sealed"),
        due_at=clock.now(),
        lease_id=None,
    )


def test_the_table_names_every_status():
    assert set(MOVES) == {status.value for status in Status}


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=lambda status: status.value)
def test_a_status_moves_only_as_the_table_says(before, after):
    message = message_that_is(before)
    assert state.is_allowed(before, after) == (after in MOVES[before].split())
    if after in MOVES[before].split():
        event = state.apply(message, after, reason="because")
        assert (message.status, event.name, event.data) == (after, f"message.{after}", {"reason": "because"})
        assert (message.due_at, message.lease_id, message.claimed_from) == (None, None, None)
    else:
        with pytest.raises(StatusConflictError, match=f"is {before}"):
            state.apply(message, after)
        assert message.status == before
        assert message.due_at is not None


@pytest.mark.parametrize("status", sorted(state.FINAL))
def test_a_final_status_wipes_what_is_sensitive_and_nothing_else(status):
    before = next(each for each in Status if state.is_allowed(each, status))
    plain, sensitive = message_that_is(before), message_that_is(before, is_sensitive=True)
    for message in (plain, sensitive):
        state.apply(message, status)
        assert message.finished_at is not None
    assert plain.content is not None
    assert sensitive.content is None


@pytest.mark.parametrize("status", sorted(set(Status) - state.FINAL - {Status.SENDING}))
def test_a_message_that_may_be_sent_keeps_what_it_carries(status):
    before = next(each for each in Status if state.is_allowed(each, status))
    message = message_that_is(before, is_sensitive=True)
    state.apply(message, status)
    assert message.content is not None
    assert message.finished_at is None


def test_a_retry_takes_the_end_of_a_message_back():
    message = message_that_is(Status.SENDING)
    state.apply(message, Status.FAILED)
    state.apply(message, Status.QUEUED)
    assert message.finished_at is None


def test_what_waits_is_claimed_and_what_is_over_is_not():
    assert {"scheduled", "queued", "deferred", "uncertain"} == state.CLAIMABLE
    assert not state.FINAL & state.CLAIMABLE
    assert state.WAITING <= state.CLAIMABLE
