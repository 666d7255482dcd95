"""How long each kind of row is kept. Plain numbers from the settings; knows no table."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from email_service.kernel import clock

TOKENS_KEPT = timedelta(days=7)  # after their end, and sessions; longer than a recorded answer names one (idempotency)
REQUESTS_KEPT = timedelta(days=1)  # public ones for tokens, answered or not: nobody waits for that mail any more
RATE_IDLE = timedelta(days=1)  # a send rate that was not used for so long limits nobody any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Spans in days; each counts from the end of what it is about."""

    retention_days: int  # finished messages with their events and attempts, and captured mail
    content_retention_days: int  # what finished messages carried
    audit_retention_days: int

    def shortened(self, days: int) -> "Policy":
        """The same, with messages kept for `days` only; their content never outlives them."""
        return replace(self, retention_days=days, content_retention_days=min(days, self.content_retention_days))

    def cutoffs(self) -> "Cutoffs":
        """The instants before which things are old now."""
        now = clock.now()
        return Cutoffs(
            messages=now - timedelta(days=self.retention_days),
            contents=now - timedelta(days=min(self.content_retention_days, self.retention_days)),
            audit_events=now - timedelta(days=self.audit_retention_days),
            tokens=now - TOKENS_KEPT,
            token_requests=now - REQUESTS_KEPT,
            send_rates=now - RATE_IDLE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """What ended before its instant is old."""

    messages: datetime
    contents: datetime
    audit_events: datetime
    tokens: datetime
    token_requests: datetime
    send_rates: datetime
