"""Who used up a quota, written down once a minute for each: a flood of refused calls must not become one of rows.

Knows HTTP, as the quotas do; refuses to keep a refusal from being answered because it cannot be noted.
"""

import threading

import structlog
from flask import g
from sqlalchemy.exc import SQLAlchemyError

from email_service.audit import callers
from email_service.audit import service as audit
from email_service.kernel import clock
from email_service.web import context

NEWS_AFTER_SECONDS = 60.0
_CAPACITY = 10_000

_log = structlog.get_logger(__name__)


class QuotaHits:
    """What one process has noted lately; threads may share it."""

    def __init__(self) -> None:
        self._noted_at_seconds: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def note(self, scope: str, key: str, allowed: str) -> None:
        """Write down that there was no place for this key: a network, a client's id, or an address made unreadable."""
        if not self._is_news((scope, key)):
            return
        actor = callers.present() if "caller" in g else callers.stranger()
        try:
            context.write_apart([audit.row(actor, "quota.exceeded", key, scope=scope, allowed=allowed)])
        except SQLAlchemyError as error:
            _log.warning("quota_hit.not_noted", scope=scope, error=type(error).__name__)

    def _is_news(self, key: tuple[str, str]) -> bool:
        now = clock.monotonic_seconds()
        with self._lock:
            if now - self._noted_at_seconds.get(key, float("-inf")) < NEWS_AFTER_SECONDS:
                return False
            if len(self._noted_at_seconds) >= _CAPACITY:
                self._noted_at_seconds.clear()
            self._noted_at_seconds[key] = now
            return True
