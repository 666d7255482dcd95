"""What follows from a delivery attempt: the next status and, where there is one, the next try. Pure rules, no clock.

Delays run through the schedule and repeat its last step for 72 hours, then the message is given up; a server's own
suggestion is obeyed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from email_service.delivery.transport import Outcome, Phase, Report
from email_service.messages.state import Status

GIVE_UP_AFTER_SECONDS = 72 * 3600
UNCERTAIN_PAUSE_SECONDS = 300
MAX_SUGGESTION_SECONDS = 24 * 3600
JITTER = 0.1  # a delay grows by up to this share, so that what failed together is not tried together

# The address itself is wrong (RFC 3463 3.2): nobody should write there again.
_BAD_ADDRESS_CODES = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
_NO_SUCH_MAILBOX_CODES = frozenset({550, 551, 553})
# What servers without enhanced codes say for an unknown mailbox; anything else could be a policy.
_NO_SUCH_MAILBOX_WORDS = (
    "user unknown",
    "unknown user",
    "no such user",
    "no such recipient",
    "does not exist",
    "mailbox not found",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What already happened to the message, before this attempt, and what its route makes of a fault."""

    age_seconds: float  # since it was first due in this round of tries
    attempt_count: int
    uncertain_count: int
    pause_seconds: float  # after a fault of the transport; 0: there is another way, at once
    holds_when_uncertain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with the message now."""

    status: Status
    delay_seconds: float | None = None  # None: it is not looked at again by itself
    counts_attempt: bool = True
    suppresses: bool = False  # the recipient's address must not be mailed any more
    reason: str


def decide(report: Report, history: History, delays: Sequence[int], jitter: float) -> Decision:
    """The decision after one attempt; `jitter` is a random number from 0 to 1."""
    if report.outcome is Outcome.ACCEPTED:
        return Decision(status=Status.SENT, reason="accepted_by_server")
    if report.outcome is Outcome.UNCERTAIN:
        return _after_uncertainty(history)
    if report.outcome is Outcome.REFUSED:
        return _after_refusal(report)
    return _after_deferral(report, history, delays, jitter)


def is_bad_address(report: Report) -> bool:
    """Whether the server said that the recipient does not exist, rather than that it does not like the sender or us."""
    if report.phase not in {Phase.RCPT, Phase.FINAL}:
        return False
    if report.enhanced_code is not None:
        return report.enhanced_code in _BAD_ADDRESS_CODES
    words = report.reply.lower()
    return report.code in _NO_SUCH_MAILBOX_CODES and any(each in words for each in _NO_SUCH_MAILBOX_WORDS)


def _after_refusal(report: Report) -> Decision:
    if is_bad_address(report):
        return Decision(status=Status.BOUNCED, suppresses=True, reason="address_unknown")
    was_sent = report.phase is not Phase.PREPARE
    return Decision(status=Status.FAILED, reason="refused_by_server" if was_sent else "cannot_be_made")


def _after_uncertainty(history: History) -> Decision:
    if history.holds_when_uncertain or history.uncertain_count > 0:
        return Decision(status=Status.UNCERTAIN, reason="held_as_uncertain")
    return Decision(status=Status.UNCERTAIN, delay_seconds=UNCERTAIN_PAUSE_SECONDS, reason="retried_once_as_uncertain")


def _after_deferral(report: Report, history: History, delays: Sequence[int], jitter: float) -> Decision:
    if history.age_seconds >= GIVE_UP_AFTER_SECONDS:
        return Decision(status=Status.FAILED, reason="retries_used_up")
    is_fault = report.is_transport_fault
    if is_fault and not history.pause_seconds:
        return Decision(status=Status.DEFERRED, delay_seconds=0.0, counts_attempt=False, reason="another_way")
    delay = history.pause_seconds if is_fault else delays[min(history.attempt_count, len(delays) - 1)]
    suggested = min(report.retry_after_seconds or 0, MAX_SUGGESTION_SECONDS)
    return Decision(
        status=Status.DEFERRED,
        delay_seconds=_spread(max(delay, suggested), jitter),
        counts_attempt=not is_fault,
        reason="transport_unavailable" if is_fault else "deferred",
    )


def _spread(seconds: float, jitter: float) -> float:
    return seconds * (1 + JITTER * jitter)
