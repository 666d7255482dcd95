"""Crashes told to Sentry: what nobody foresaw, where in the code it happened, of which request, and nothing else.

Imported only where somebody asked for it, for its library is an extra. Whatever looks like an address or a secret is
masked as in the log (T27); no variable, header, body or breadcrumb is taken.
"""

import atexit
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, cast

import sentry_sdk
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event
from sentry_sdk.utils import event_from_exception, exc_info_from_error

from email_service.kernel import logs

_TAGS = ("event", "request_id", "message_id", "client", "lane", "route")
_FLUSH_SECONDS = 2.0


def start(dsn: str, transport: type[Transport] | None = None) -> logs.Report:
    """Who is told of each event of the log that has an exception."""
    client = sentry_sdk.Client(
        dsn=dsn,
        transport=transport,
        release=version("email-service"),
        # Everything that would look around by itself: at requests, local variables, other loggers.
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_hide,
    )
    atexit.register(client.close, timeout=_FLUSH_SECONDS)

    def report(event: Mapping[str, Any], error: BaseException) -> None:
        told, hint = event_from_exception(exc_info_from_error(error), client.options)
        told["level"], told["logger"] = "error", str(event.get("logger", ""))
        told["tags"] = {name: str(event[name]) for name in _TAGS if event.get(name)}
        client.capture_event(told, hint)

    return report


def _hide(event: Event, _hint: Mapping[str, Any]) -> Event:
    return cast("Event", logs.hide(None, "", cast("dict[str, Any]", event)))
