"""Why a message has not arrived: the reason for each set of circumstances, its sentence and the next try."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from email_service.delivery import explanation
from email_service.delivery.explanation import Ahead, Attempt, Circumstances, Outage, Reason, Suppressed
from email_service.delivery.outbox import Hold
from email_service.messages.state import Status

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
EARLIER, LATER, LATEST = NOW - timedelta(minutes=5), NOW + timedelta(minutes=5), NOW + timedelta(hours=1)
GREY = Attempt(
    transport="smtp", phase="rcpt", code=451, enhanced_code="4.7.1", reply="come back later", finished_at=EARLIER
)
UNREACHED = Attempt(
    transport="smtp", phase="connect", code=None, enhanced_code=None, reply="timed out", finished_at=EARLIER
)
BUSY = Attempt(transport="smtp", phase="connect", code=421, enhanced_code=None, reply="busy", finished_at=EARLIER)
NO_USER = Attempt(
    transport="smtp", phase="rcpt", code=550, enhanced_code="5.1.1", reply="no such user", finished_at=EARLIER
)
OUTAGE = Outage(route="ses", reason="535 bad login", failure_count=3, tripped_at=EARLIER, open_until=LATER)
PROBING = Outage(route="ses", reason="535 bad login", failure_count=3, tripped_at=EARLIER, open_until=EARLIER)
MESSAGE = UUID("01a1fbc5-cf0f-71b6-8660-565e4b785ed7")
BOUNCE = Suppressed(reason="hard_bounce", created_at=EARLIER, message_id=MESSAGE)
MANUAL = Suppressed(reason="manual", created_at=EARLIER, message_id=None)
NEWS = replace(MANUAL, reason="unsubscribe", category="news")
ALL_BUT_NEEDED = replace(MANUAL, reason="unsubscribe", category="optional")

# What is known, the reason, when it is tried next, and words of the sentence.
CASES = [
    ({"status": "scheduled", "due_at": LATER}, "scheduled", LATER, "to be sent at 2026-11-21T09:05:00.000Z"),
    ({"status": "queued", "due_at": EARLIER}, "waiting", EARLIER, "behind 0 of the same client and 0 in all"),
    ({"status": "scheduled", "due_at": EARLIER}, "waiting", EARLIER, "due since 2026-11-21T08:55:00.000Z"),
    ({"status": "deferred", "due_at": NOW, "attempt": GREY}, "waiting", NOW, "waits for a worker"),
    (
        {"status": "queued", "due_at": EARLIER, "lane": "bulk", "ahead": Ahead(7, 1001)},
        "waiting",
        EARLIER,
        "behind 7 of the same client and more than 1000 in all in the lane bulk",
    ),
    ({"status": "queued", "due_at": EARLIER, "is_mail_off": True}, "mail_disabled", None, "until the operator"),
    ({"status": "deferred", "due_at": LATER, "is_mail_off": True}, "mail_disabled", None, "MAIL_ENABLED=false"),
    ({"status": "cancelled", "told": "mail_disabled"}, "mail_disabled", None, "never sent"),
    (
        {"status": "sending", "due_at": LATER, "is_leased": True},
        "sending",
        None,
        "another takes over at 2026-11-21T09:05",
    ),
    ({"status": "sending", "due_at": LATER, "is_leased": True, "outage": OUTAGE}, "sending", None, "now"),
    ({"status": "sending", "due_at": EARLIER, "is_leased": True}, "sending", None, "silent since 2026-11-21T08:55"),
    ({"status": "sending", "due_at": EARLIER}, "waiting", EARLIER, "waits for a worker"),
    (
        {"status": "queued", "due_at": EARLIER, "outage": OUTAGE},
        "route_down",
        LATER,
        "ses has been out of order since 2026-11-21T08:55:00.000Z, with the words “535 bad login”; it is tried again",
    ),
    ({"status": "queued", "due_at": EARLIER, "outage": PROBING}, "route_down", EARLIER, "tried again now"),
    ({"status": "queued", "due_at": LATEST, "held_by": "route_down", "outage": OUTAGE}, "route_down", LATEST, "ses"),
    ({"status": "queued", "due_at": LATER, "held_by": "route_down"}, "route_down", LATER, "tried again at"),
    ({"status": "scheduled", "due_at": LATER, "outage": OUTAGE}, "scheduled", LATER, "to be sent at"),
    ({"status": "deferred", "due_at": LATER, "attempt": GREY, "outage": OUTAGE}, "greylisted", LATER, "come back"),
    ({"status": "queued", "due_at": LATER, "held_by": "no_route"}, "no_route", LATER, "MAIL_ROUTES"),
    ({"status": "queued", "due_at": LATER, "held_by": "route_rate"}, "route_rate", LATER, "its limit"),
    (
        {"status": "queued", "due_at": LATER, "held_by": "domain_rate", "domain": "example.com"},
        "domain_rate",
        LATER,
        "Mail to example.com may not",
    ),
    ({"status": "deferred", "due_at": LATER, "held_by": "domain_rate", "attempt": GREY}, "domain_rate", LATER, "Mail"),
    ({"status": "queued", "due_at": EARLIER, "held_by": "route_rate"}, "waiting", EARLIER, "waits for a worker"),
    (
        {"status": "deferred", "due_at": LATER, "attempt": GREY},
        "greylisted",
        LATER,
        "(451 4.7.1), with the words “come back later”; the message is tried again at 2026-11-21T09:05:00.000Z",
    ),
    (
        {"status": "deferred", "due_at": LATER, "expires_at": LATER, "attempt": GREY},
        "greylisted",
        None,
        "expires at 2026-11-21T09:05:00.000Z, before another try",
    ),
    ({"status": "deferred", "due_at": LATER, "attempt": UNREACHED}, "deferred", LATER, "words “timed out”"),
    ({"status": "deferred", "due_at": LATER, "attempt": BUSY}, "deferred", LATER, "(421)"),
    ({"status": "deferred", "due_at": LATER}, "deferred", LATER, "could not be sent yet"),
    ({"status": "uncertain", "due_at": LATER}, "uncertain", LATER, "tried again at 2026-11-21T09:05:00.000Z, once"),
    ({"status": "uncertain", "due_at": EARLIER, "outage": OUTAGE}, "uncertain", EARLIER, "may have arrived"),
    ({"status": "uncertain"}, "uncertain", None, "until a person decides"),
    ({"status": "uncertain", "told": "lease_lost"}, "uncertain", None, "The worker"),
    ({"status": "uncertain", "is_superseded": True}, "uncertain", None, "a newer message"),
    ({"status": "sent", "finished_at": EARLIER}, "sent", None, "took the message at 2026-11-21T08:55:00.000Z"),
    ({"status": "delivered", "finished_at": EARLIER}, "delivered", None, "reported"),
    ({"status": "bounced", "attempt": NO_USER}, "bounced", None, "(550 5.1.1), with the words “no such user”"),
    ({"status": "complained", "finished_at": EARLIER}, "complained", None, "spam"),
    ({"status": "suppressed", "suppression": BOUNCE}, "suppressed", None, f"hard_bounce, by message {MESSAGE}"),
    ({"status": "suppressed", "suppression": MANUAL}, "suppressed", None, "2026-11-21T08:55:00.000Z (manual)"),
    ({"status": "suppressed", "suppression": NEWS}, "suppressed", None, "gets nothing of the category news since 2026"),
    ({"status": "suppressed", "suppression": ALL_BUT_NEEDED}, "suppressed", None, "gets only what its reader cannot"),
    ({"status": "suppressed", "told": "complaint"}, "suppressed", None, "was suppressed (complaint)"),
    ({"status": "failed", "told": "refused_by_server", "attempt": NO_USER}, "failed", None, "refused"),
    ({"status": "failed", "told": "cannot_be_made"}, "failed", None, "made into mail"),
    ({"status": "failed", "told": "retries_used_up", "attempt": GREY}, "failed", None, "all its tries (451"),
    ({"status": "expired", "told": "expires_at_passed", "expires_at": EARLIER}, "expired", None, "expired at 2026"),
    ({"status": "expired", "is_superseded": True, "finished_at": EARLIER}, "expired", None, "A newer message"),
    ({"status": "cancelled", "told": "requested", "finished_at": EARLIER}, "cancelled", None, "cancelled at 2026"),
]


def circumstances(fields: dict) -> Circumstances:
    return Circumstances(now=NOW, **{**fields, "status": Status(fields["status"])})


@pytest.mark.parametrize(("known", "reason", "next_at", "words"), CASES)
def test_circumstances_have_one_reason_a_sentence_and_a_next_try(known, reason, next_at, words):
    found = circumstances(known)
    assert explanation.find_reason(found) == reason
    assert explanation.find_next_attempt(found, Reason(reason)) == next_at
    told = explanation.tell(found, Reason(reason))
    assert words in told
    assert told[0].isupper()
    assert told.endswith(".")
    assert "None" not in told


def test_every_reason_and_every_final_status_has_a_case():
    assert {case[1] for case in CASES} == set(Reason)
    assert {case[0]["status"] for case in CASES} == set(Status)


def test_whatever_holds_a_message_back_is_a_reason():
    assert {hold.value for hold in Hold} <= {reason.value for reason in Reason}


def test_a_servers_long_words_are_cut_in_the_sentence():
    told = explanation.tell(
        circumstances({"status": "bounced", "attempt": Attempt(**{**_fields(NO_USER), "reply": "x" * 500})}),
        Reason.BOUNCED,
    )
    assert "x" * 200 + "…" in told
    assert "x" * 201 not in told


def _fields(attempt: Attempt) -> dict:
    return {name: getattr(attempt, name) for name in Attempt.__slots__}
