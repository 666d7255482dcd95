"""What travels inside a worker process: a claimed message on its way out, and what came of it. Pure data."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from email_service.delivery.outbox import Lease
from email_service.delivery.transport import Report


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One claimed message that may be sent, with the route it is to take."""

    lease: Lease
    message: Any = field(repr=False)  # a row of outbox.read_claimed
    lane: str
    route: str
    copies: tuple[str, ...] = ()  # addresses of cc and bcc that may be mailed
    held_back: frozenset[str] = frozenset()  # those that must not be
    starts_at_seconds: float = 0.0  # not before this, on clock.monotonic_seconds: its place under a rate
    ends_at_seconds: float  # when the lease ends unless it is renewed
    expires_at_seconds: float = math.inf  # not after this
    template_version: str | None = None  # which its mail was rendered with; None: it was not

    @property
    def message_id(self) -> UUID:
        """Of the claimed message."""
        return self.lease.message_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one attempt came to."""

    job: Job
    report: Report
    started_at: datetime
    finished_at: datetime
    smtp_seconds: float = 0.0  # of it, for the transport alone
    pause_seconds: float = 0.0  # after a fault of the transport; 0: another route or connection may take it at once

    @property
    def message_id(self) -> UUID:
        """Of the job's message."""
        return self.job.message_id
