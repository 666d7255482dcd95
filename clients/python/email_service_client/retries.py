"""When a call is made again, and after which pause. Pure rules over what went wrong; never sleeps."""

import secrets
from dataclasses import dataclass

from email_service_client.problems import (
    ConnectionFailed,
    EmailServiceError,
    ProblemError,
    RateLimited,
    Unavailable,
)

_CHANCE = secrets.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How patient a client is. No try begins later than `total_seconds` after the first; 0 is none but the first."""

    total_seconds: float = 30.0
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 8.0

    def pause_seconds(self, tries: int, error: EmailServiceError) -> float:
        """How long to wait after so many tries: twice as long each time, and never less than Retry-After says.

        Some of it is chance, so that callers who failed together do not come back together.
        """
        longest = min(self.longest_pause_seconds, self.first_pause_seconds * 2.0 ** min(tries - 1, 30))
        pause = _CHANCE.uniform(longest / 2, longest)
        asked = error.retry_after if isinstance(error, ProblemError) else None
        return pause if asked is None else asked + pause / 4


def may_help(error: EmailServiceError, *, is_repeatable: bool) -> bool:
    """Whether another try can come to more. What may have been done is repeated only where that does it once."""
    match error:
        case ConnectionFailed():
            return is_repeatable or not error.may_have_arrived
        case RateLimited():
            return True  # refused before anything was done
        case Unavailable():
            # A database that goes away in the middle of a commit is a 503 too, so that it may have been done.
            return is_repeatable
        case ProblemError():
            return error.code == "idempotency_in_flight"
    return False
