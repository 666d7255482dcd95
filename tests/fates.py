"""What callers can wish of a message, and what mail servers can make of a try, to make up lives of messages from.

Knows no pytest, no database and no rule.
"""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from email_service.delivery.transport import Outcome, Phase, Report
from email_service.kernel import clock
from email_service.messages.submission import Submission
from tests.applications import PASSWORD_RESET

READERS = ("ada@example.com", "bob@example.com", "eve@example.com")
DAY = timedelta(days=1)
REPORTS = {
    "accepted": Report(outcome=Outcome.ACCEPTED, phase=Phase.FINAL, code=250),
    "later": Report(outcome=Outcome.RETRY_LATER, phase=Phase.RCPT, code=451, reply="later"),
    "down": Report(outcome=Outcome.RETRY_LATER, phase=Phase.CONNECT, is_transport_fault=True),
    "unknown": Report(outcome=Outcome.REFUSED, phase=Phase.RCPT, code=550, enhanced_code="5.1.1"),
    "refused": Report(outcome=Outcome.REFUSED, phase=Phase.FINAL, code=554, enhanced_code="5.7.1"),
    "unmade": Report(outcome=Outcome.REFUSED, phase=Phase.PREPARE),
    "lost": Report(outcome=Outcome.UNCERTAIN, phase=Phase.FINAL),
}
NOBODYS = Submission(template="no-such-template", to={"email": READERS[0], "name": ""})
WELCOME = {"template": "welcome", "variables": {"name": "Ada"}}
wishes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([WELCOME, PASSWORD_RESET]),
        "to": st.sampled_from(READERS),
        "send_at": st.sampled_from([None, DAY]),
        "expires_at": st.sampled_from([None, 2 * DAY]),
        "is_forced": st.booleans(),
    }
)


def after(span: timedelta | None) -> datetime | None:
    """So long from now."""
    return None if span is None else clock.now() + span


def submission(kind: dict[str, Any], to: str, *, is_forced: bool, **times: timedelta | None) -> Submission:
    """The message of such a wish."""
    is_forced = is_forced and kind is PASSWORD_RESET  # which the settings allow for the lane of tokens
    given = {"to": {"email": to, "name": ""}, **{name: after(span) for name, span in times.items()}}
    return Submission(**kind, **given, is_forced=is_forced)
