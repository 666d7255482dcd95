"""One log line for each answer. It names the route and never the query, the body or a header."""

import structlog
from flask import Flask, Response, g, request

from email_service.kernel import clock

_log = structlog.get_logger(__name__)
_QUIET_PATHS = frozenset({"/healthz", "/readyz"})


def install(app: Flask) -> None:
    """Log every request of the application but the health checks."""
    app.before_request(_start)
    app.after_request(_note)


def _start() -> None:
    g.started_at_seconds = clock.monotonic_seconds()


def _note(response: Response) -> Response:
    if request.path not in _QUIET_PATHS:
        started_at = g.get("started_at_seconds", clock.monotonic_seconds())
        _log.info(
            "request.answered",
            method=request.method,
            path=_told_path(),
            status=response.status_code,
            milliseconds=round((clock.monotonic_seconds() - started_at) * 1000, 1),
        )
    return response


def _told_path() -> str:
    # An address in a path is somebody's; the pattern tells as much about what was called.
    return request.url_rule.rule if "@" in request.path and request.url_rule else request.path[:200]
