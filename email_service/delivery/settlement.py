"""Writes down what attempts came to: attempt, event, status and next time of every result, in one transaction.

Knows no transport; what follows from an outcome is decided by `retry`.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case
from sqlalchemy.orm import Session

from email_service.delivery import opening, outbox, retry
from email_service.delivery.job import Result
from email_service.delivery.transport import Outcome, Phase
from email_service.kernel import clock, tallies
from email_service.kernel.orm import database_now, new_id, table_of
from email_service.kernel.rows import insert_many
from email_service.kernel.tallies import Handover, MessageEvent, SmtpReply, Tally
from email_service.messages import state
from email_service.messages.models import DeliveryAttempt, Message
from email_service.messages.state import Status
from email_service.rendering.catalog import Catalog
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason

_randomness = secrets.SystemRandom()
_ATTEMPTS = table_of(DeliveryAttempt)
_REPLY_CODES = range(200, 600)  # RFC 5321 4.2.1; a hostile server may say any number
_ACCEPTED = (Status.SENT, "accepted_by_server")
TAKEN_OVER = "taken_over"  # another worker holds the message now
_LOST = (TAKEN_OVER, "lease_lost")


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about a message beside its own history."""

    catalog: Catalog
    retry_delays: tuple[int, ...]


Settled = tuple[Result, str, str]  # with the message's new status and the reason for it


def settle(session: Session, rules: Rules, results: Sequence[Result]) -> list[Settled]:
    """Write all of the results and say what became of each message.

    A result whose lease was lost meanwhile leaves its attempt behind and moves nothing. The caller commits.
    """
    accepted = [result for result in results if result.report.outcome is Outcome.ACCEPTED]
    moved = _move_accepted(session, accepted)
    facts = {message_id: _evidence(result, _ACCEPTED[1]) for message_id, result in moved.items()}
    attempts = [_attempt_row(result) for result in results]
    insert_many(
        session.connection(), {_ATTEMPTS: attempts, state.EVENTS: state.events(f"message.{Status.SENT}", facts)}
    )
    tallies.note(session, *(tally for result in results for tally in _tell_attempt(result)))
    tallies.note(session, *(tally for result in moved.values() for tally in _tell_handover(result)))
    settled: list[Settled] = []
    for result in results:
        if result.report.outcome is Outcome.ACCEPTED:
            was_ours = moved.get(result.message_id) is result
            settled.append((result, *(_ACCEPTED if was_ours else _LOST)))
        else:
            settled.append((result, *_settle_one(session, rules, result)))
    return settled


def _move_accepted(session: Session, results: Collection[Result]) -> dict[UUID, Result]:
    """Bring the messages of these results to `sent`; those that were still ours, by their ids."""
    by_lease: dict[UUID, dict[UUID, Result]] = defaultdict(dict)
    for result in results:
        by_lease[result.job.lease.lease_id][result.message_id] = result
    moved: dict[UUID, Result] = {}
    for lease_id, of_lease in by_lease.items():
        moved |= {each: of_lease[each] for each in state.apply_sent(session, lease_id, of_lease.keys())}
    return moved


def _settle_one(session: Session, rules: Rules, result: Result) -> tuple[str, str]:
    message = outbox.find_leased(session, result.job.lease)
    if message is None:
        return _LOST
    history = _history(rules, message, result)
    decision = retry.decide(result.report, history, rules.retry_delays, _randomness.random())
    state.apply(message, decision.status, result.job.route, **_evidence(result, decision.reason))
    message.attempt_count += decision.counts_attempt
    message.uncertain_count += result.report.outcome is Outcome.UNCERTAIN
    if decision.delay_seconds is not None:
        message.due_at = _next_look(decision.delay_seconds)
    if decision.suppresses:
        suppressions.suppress(session, message.recipient_email, Reason.HARD_BOUNCE, message.id)
    return decision.status, decision.reason


def _attempt_row(result: Result) -> dict[str, Any]:
    report, job = result.report, result.job
    return {
        "id": new_id(),
        "message_id": job.lease.message_id,
        "transport": job.route,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "outcome": report.outcome,
        "phase": report.phase,
        "code": report.code,
        "enhanced_code": report.enhanced_code,
        "reply": report.reply,
        "refused": {**report.refused, **dict.fromkeys(job.held_back, "suppressed")},
    }


def _tell_attempt(result: Result) -> Iterator[Tally]:
    report = result.report
    if report.phase is not Phase.PREPARE:
        reply = f"{report.code // 100}xx" if report.code and report.code in _REPLY_CODES else "none"
        yield SmtpReply(result.job.route, reply, result.smtp_seconds)


def _tell_handover(result: Result) -> Iterator[Tally]:
    message = result.job.message
    yield MessageEvent(Status.SENT, message.lane, message.template, result.job.route)
    # Two machines' clocks; a histogram's sum must never fall.
    yield Handover(message.lane, max(0.0, (result.finished_at - message.round_began_at).total_seconds()))


def _evidence(result: Result, reason: str) -> dict[str, Any]:
    report = result.report
    return {
        "reason": reason,
        "phase": report.phase,
        "code": report.code,
        "enhanced_code": report.enhanced_code,
        "reply": report.reply,
        # The message has the version that it was accepted with; templates may have changed since.
        **({"template_version": result.job.template_version} if result.job.template_version else {}),
    }


def _history(rules: Rules, message: Message, result: Result) -> retry.History:
    return retry.History(
        age_seconds=(clock.now() - message.round_began_at).total_seconds(),
        attempt_count=message.attempt_count,
        uncertain_count=message.uncertain_count,
        pause_seconds=result.pause_seconds,
        holds_when_uncertain=opening.holds_when_uncertain(rules.catalog, message),
    )


def _next_look(delay_seconds: float) -> Any:
    """When a message is due again: after the delay, or at its expiry if that comes first, so that it ends in time.

    By the database's clock: with one that is fast, every retry would wait until the message has expired.
    """
    after_delay = database_now(timedelta(seconds=delay_seconds))
    return case((Message.expires_at < after_delay, Message.expires_at), else_=after_delay)
