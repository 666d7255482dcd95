"""Why a message has not arrived: one reason from a closed list, and one sentence to read aloud. Pure rules.

Knows what `circumstances` found out, and looks nothing up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from email_service.delivery.outbox import Hold
from email_service.delivery.transport import Phase
from email_service.kernel import clock
from email_service.kernel.categories import EVERYTHING, OPTIONAL
from email_service.messages.state import Status

COUNT_BOUND = 1000  # what is counted beyond this is only "more than"
_SHOWN_CHARACTERS = 200  # of a server's words in a sentence; the evidence has them all
_TALKING = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.FINAL})


class Reason(StrEnum):
    """Why a message is where it is."""

    SCHEDULED = "scheduled"  # it is due later
    WAITING = "waiting"  # it is due, and no worker has taken it yet
    MAIL_DISABLED = "mail_disabled"  # MAIL_ENABLED=false
    SENDING = "sending"  # a worker has it
    ROUTE_DOWN = "route_down"  # every mail server that it may use is out of order
    NO_ROUTE = "no_route"  # no configured mail server takes its lane and sender
    ROUTE_RATE = "route_rate"  # its mail server may not be used faster
    DOMAIN_RATE = "domain_rate"  # its recipient's domain may not be mailed faster
    GREYLISTED = "greylisted"  # the server said: not now (4xx)
    DEFERRED = "deferred"  # another temporary trouble
    UNCERTAIN = "uncertain"  # it may have arrived
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    EXPIRED = "expired"  # its time was over, or a newer message took its place
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The last try."""

    transport: str
    phase: str
    code: int | None
    enhanced_code: str | None
    reply: str
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """Why the address must not be mailed."""

    reason: str
    category: str = EVERYTHING  # of which mail
    created_at: datetime
    message_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The route that is tried again first, while none that the message may use works."""

    route: str
    reason: str
    failure_count: int
    tripped_at: datetime
    open_until: datetime


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many due messages of the lane go first; more than COUNT_BOUND are not counted."""

    of_client: int = 0
    in_all: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of one message; times are those of the database's clock."""

    now: datetime
    status: Status
    lane: str = "transactional"
    domain: str = ""  # the recipient's
    due_at: datetime | None = None
    expires_at: datetime | None = None
    finished_at: datetime | None = None
    held_by: str | None = None
    is_leased: bool = False
    is_mail_off: bool = False
    is_superseded: bool = False
    told: str | None = None  # the reason in the event of the present status
    attempt: Attempt | None = None
    outage: Outage | None = None
    suppression: Suppressed | None = None
    ahead: Ahead = Ahead()

    @property
    def is_due(self) -> bool:
        """Whether a worker may take it now."""
        return self.due_at is not None and self.due_at <= self.now

    @property
    def ends_untried(self) -> bool:
        """Whether its time is over before the next try would come."""
        return self.due_at is not None and self.expires_at is not None and self.expires_at <= self.due_at


def find_reason(found: Circumstances) -> Reason:
    """The one reason that explains the message's status."""
    if found.due_at is None or found.is_leased:
        was_refused_to_all = found.status is Status.CANCELLED and found.told == "mail_disabled"
        return Reason.MAIL_DISABLED if was_refused_to_all else Reason(found.status)
    if found.is_mail_off:
        return Reason.MAIL_DISABLED
    if found.status is Status.UNCERTAIN:
        return Reason.UNCERTAIN
    if found.outage and (found.is_due or found.held_by == Hold.ROUTE_DOWN):
        return Reason.ROUTE_DOWN
    if found.is_due:
        return Reason.WAITING
    return _find_delay(found)


def find_next_attempt(found: Circumstances, reason: Reason) -> datetime | None:
    """When the message is tried next, as far as anybody knows; None while it is being sent, and when it never is."""
    if found.due_at is None or found.is_leased or found.ends_untried or reason is Reason.MAIL_DISABLED:
        return None
    if reason is Reason.ROUTE_DOWN and found.outage:
        return max(found.due_at, found.outage.open_until)
    return found.due_at


def tell(found: Circumstances, reason: Reason) -> str:
    """The reason as one sentence for a person who knows nothing of mail servers."""
    sentence: Callable[[Circumstances], str] = _SENTENCES[reason]
    return sentence(found)


def _find_delay(found: Circumstances) -> Reason:
    if found.held_by is not None:
        return Reason(found.held_by)
    if found.status is not Status.DEFERRED:
        return Reason.SCHEDULED
    tried = found.attempt
    is_answer = tried is not None and tried.code is not None and tried.phase in _TALKING
    return Reason.GREYLISTED if is_answer and tried and (tried.code or 0) // 100 == 4 else Reason.DEFERRED  # noqa: PLR2004 - 4xx


def _tell_waiting(found: Circumstances) -> str:
    own, every = _count(found.ahead.of_client), _count(found.ahead.in_all)
    return (
        f"The message has been due since {_at(found.due_at)} and waits for a worker, behind {own} of the same client "
        f"and {every} in all in the lane {found.lane}."
    )


def _tell_mail_disabled(found: Circumstances) -> str:
    if found.status is Status.CANCELLED:
        return "Mail was switched off (MAIL_ENABLED=false) when the message came, so it is never sent."
    return "Mail is switched off (MAIL_ENABLED=false); the message waits until the operator switches it on."


def _tell_sending(found: Circumstances) -> str:
    if found.is_due:
        return f"The worker that was sending the message has been silent since {_at(found.due_at)}; another takes over."
    return f"A worker is sending the message now; should it die, another takes over at {_at(found.due_at)}."


def _tell_route_down(found: Circumstances) -> str:
    outage = found.outage
    if outage is None:
        return f"No mail server could be used when the message was due; it {_next(found)}."
    when = f"at {_at(outage.open_until)}" if outage.open_until > found.now else "now"
    return (
        f"The mail server {outage.route} has been out of order since {_at(outage.tripped_at)}"
        f"{_quoted(outage.reason)}; it is tried again {when}."
    )


def _tell_greylisted(found: Circumstances) -> str:
    return f"The mail server asked to come back later{_words(found.attempt)}; the message {_next(found)}."


def _tell_deferred(found: Circumstances) -> str:
    if found.attempt is None:
        return f"The message could not be sent yet; it {_next(found)}."
    tried = f"The last try at {_at(found.attempt.finished_at)} did not get through{_words(found.attempt)}"
    return f"{tried}; the message {_next(found)}."


def _tell_uncertain(found: Circumstances) -> str:
    lost = "The worker that was sending the message died" if found.told == "lease_lost" else "No answer came back"
    begin = f"{lost} when it may have been handed over already, so it may have arrived"
    if found.is_superseded:
        return f"{begin}; it is not tried again, because a newer message took its place."
    if found.due_at is None:
        return f"{begin}; it is held until a person decides whether to send it again."
    return f"{begin}; it {_next(found)}, once."


def _tell_suppressed(found: Circumstances) -> str:
    entry = found.suppression
    if entry is None:
        return f"The address was suppressed ({found.told}), so the message was not sent; it may be mailed again by now."
    cause = f", by message {entry.message_id}" if entry.message_id else ""
    known = {EVERYTHING: "must not be mailed", OPTIONAL: "gets only what its reader cannot unsubscribe from"}
    said = known.get(entry.category, f"gets nothing of the category {entry.category}")
    return f"The address {said} since {_at(entry.created_at)} ({entry.reason}{cause}), so it was not sent."


def _tell_failed(found: Circumstances) -> str:
    words = _words(found.attempt)
    if found.told == "retries_used_up":
        return f"The message was given up at {_at(found.finished_at)} after all its tries{words}."
    if found.told == "cannot_be_made":
        return f"The message could not be made into mail{words}."
    return f"The mail server refused the message for good at {_at(found.finished_at)}{words}."


def _tell_expired(found: Circumstances) -> str:
    if found.is_superseded:
        return f"A newer message took the place of this one at {_at(found.finished_at)}, before it was sent."
    return f"The message was not sent before it expired at {_at(found.expires_at or found.finished_at)}."


_SENTENCES = {
    Reason.SCHEDULED: lambda found: f"The message is to be sent at {_at(found.due_at)}, and not before.",
    Reason.WAITING: _tell_waiting,
    Reason.MAIL_DISABLED: _tell_mail_disabled,
    Reason.SENDING: _tell_sending,
    Reason.ROUTE_DOWN: _tell_route_down,
    Reason.NO_ROUTE: lambda found: (
        f"No mail server is configured for the lane {found.lane} and this sender; the operator has to add one to "
        f"MAIL_ROUTES, and the message {_next(found)}."
    ),
    Reason.ROUTE_RATE: lambda found: (
        f"The mail server may not be used faster than its limit allows; the message {_next(found)}."
    ),
    Reason.DOMAIN_RATE: lambda found: (
        f"Mail to {found.domain} may not go out faster than the limit for it allows; the message {_next(found)}."
    ),
    Reason.GREYLISTED: _tell_greylisted,
    Reason.DEFERRED: _tell_deferred,
    Reason.UNCERTAIN: _tell_uncertain,
    Reason.SENT: lambda found: (
        f"The next mail server took the message at {_at(found.finished_at)}; whether it reached the mailbox is unknown."
    ),
    Reason.DELIVERED: lambda found: f"The receiver's side reported the message delivered at {_at(found.finished_at)}.",
    Reason.BOUNCED: lambda found: f"The address does not take mail, said the mail server{_words(found.attempt)}.",
    Reason.COMPLAINED: lambda found: f"The message arrived, and at {_at(found.finished_at)} its reader called it spam.",
    Reason.SUPPRESSED: _tell_suppressed,
    Reason.FAILED: _tell_failed,
    Reason.EXPIRED: _tell_expired,
    Reason.CANCELLED: lambda found: f"The message was cancelled at {_at(found.finished_at)}, before it was sent.",
}


def _next(found: Circumstances) -> str:
    if found.ends_untried:
        return f"expires at {_at(found.expires_at)}, before another try"
    return f"is tried again at {_at(found.due_at)}"


def _words(attempt: Attempt | None) -> str:
    if attempt is None:
        return ""
    codes = " ".join(str(each) for each in (attempt.code, attempt.enhanced_code) if each)
    told = f" ({codes})" if codes else ""
    return told + _quoted(attempt.reply)


def _quoted(reply: str) -> str:
    shown = reply if len(reply) <= _SHOWN_CHARACTERS else f"{reply[:_SHOWN_CHARACTERS]}…"
    return f", with the words “{shown}”" if shown else ""


def _count(messages: int) -> str:
    return f"more than {COUNT_BOUND}" if messages > COUNT_BOUND else str(messages)


def _at(instant: datetime | None) -> str:
    return clock.written(instant) if instant else "an unknown time"
