"""One log line for each answer, and one count. The line names the route and never the query, the body or a header."""

import structlog
from flask import Flask, Response, g, request

from email_service.kernel import clock
from email_service.kernel.tallies import HttpAnswer
from email_service.web import context

_log = structlog.get_logger(__name__)
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_NO_ENDPOINT = "none"  # of whatever strangers call that does not exist, by words of their own


def install(app: Flask) -> None:
    """Count every request of the application, and log all but those that ask how it is."""
    app.before_request(_start)
    app.after_request(_note)


def _start() -> None:
    g.started_at_seconds = clock.monotonic_seconds()


def _note(response: Response) -> Response:
    now = clock.monotonic_seconds()
    seconds = now - g.get("started_at_seconds", now)
    is_known = request.url_rule is not None
    context.count(
        HttpAnswer(
            method=request.method if is_known else _NO_ENDPOINT,
            endpoint=request.url_rule.rule if request.url_rule else _NO_ENDPOINT,
            status=f"{response.status_code // 100}xx",
            seconds=seconds,
        )
    )
    if request.path not in _QUIET_PATHS:
        _log.info(
            "request.answered",
            method=request.method,
            path=_told_path(),
            status=response.status_code,
            milliseconds=round(seconds * 1000, 1),
        )
    return response


def _told_path() -> str:
    # An address in a path is somebody's; the pattern tells as much about what was called.
    return request.url_rule.rule if "@" in request.path and request.url_rule else request.path[:200]
