"""Structured logs: one JSON line for each event, or a readable one while developing; libraries' logs look the same.

Whatever looks like an address or an API key is masked on the way out, wherever it came from (T27).
"""

import logging
import logging.config
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from email_service.kernel.addresses import mask

_ADDRESS = re.compile(r"[^\s@<>\"'(),;:\[\]\\]+@[^\s@<>\"'(),;:\[\]\\]+")
# An API key, and anything of 43 characters or more that could be a token of 256 bits. Ids stay readable, and so do long
# names of files and modules: those have a dot beside them and no capital, which a token has but for once in 10^9.
_SECRET = re.compile(
    r"esk_[0-9a-f]{12}_[A-Za-z0-9_-]+"
    r"|(?<![A-Za-z0-9_-])(?![a-z0-9_-]+\.[a-z])(?!(?<=\.)[a-z0-9_-]+(?![A-Za-z0-9_-]))[A-Za-z0-9_-]{43,}"
)
_SHORTEST_SECRET = len("esk_0123456789ab_x")
_CHATTY = ("alembic", "celery.app.trace", "celery.beat", "celery.worker.strategy", "flask_cors")
_UNTOUCHED_KEYS = frozenset({"level", "timestamp", "logger", "_record", "_from_structlog"})


def configure(*, level: str, is_human: bool) -> None:
    """Send every log of this process to standard error, in one shape. Calling it again replaces the earlier setting."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _format_exception,
        hide,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
        if is_human
        else structlog.processors.JSONRenderer()
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "events": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {name: {"level": "WARNING"} for name in _CHATTY},
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-3],
            _format_exception,
            hide,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask addresses and secrets in every name and value, however deep."""
    return {
        key if key in _UNTOUCHED_KEYS else _masked(str(key)): value if key in _UNTOUCHED_KEYS else _hidden(value)
        for key, value in event.items()
    }


def _hidden(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_masked(str(key)): _hidden(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(each) for each in value]
    # Whatever else there is would be written out by the renderer, which masks nothing.
    return _masked(value if isinstance(value, str) else repr(value))


def _masked(text: str) -> str:
    # Most names and values can hold neither, and telling so costs a tenth of looking.
    if "@" in text:
        text = _ADDRESS.sub(lambda found: mask(found.group()), text)
    return _SECRET.sub("[hidden]", text) if len(text) >= _SHORTEST_SECRET else text


def _format_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Formatted before `hide`, so that an address inside an exception's text is masked too.
    return structlog.processors.format_exc_info(_logger, _method, event)
