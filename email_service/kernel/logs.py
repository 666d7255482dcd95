"""Structured logs: one JSON line for each event, or a readable one while developing; libraries' logs look the same.

Whatever looks like an address or an API key is masked on the way out, wherever it came from (T27).
"""

import json
import logging
import logging.config
import re
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TextIO

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


_ENCODER = json.JSONEncoder(default=repr)
Report = Callable[[Mapping[str, Any], BaseException], None]


def configure(*, level: str, is_human: bool, report: Report | None = None) -> None:
    """Send every log of this process to standard error, in one shape. Calling it again replaces the earlier setting.

    Whoever is given as `report` hears of each event that has an exception.
    """
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28) if is_human else _render_json
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_Reporter(report)] if report else []),
        _format_exception,
        hide,
    ]
    foreign = [structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.ExtraAdder(), *shared]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "events": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": foreign,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {name: {"level": "WARNING"} for name in _CHATTY},
        }
    )
    lines = _Lines(sys.stderr)
    structlog.configure(
        processors=[*shared, render],
        # Our own events go straight to the stream: through the standard library's records, a line costs three times as
        # much, which is a tenth of what a message costs altogether.
        logger_factory=lambda name="": _Logger(name, lines),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=False,
    )


class _Reporter:
    """Tells somebody else of what went wrong, before its traceback becomes text."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        given = event.get("exc_info")
        error = given if isinstance(given, BaseException) else (given[1] if isinstance(given, tuple) else None)
        error = sys.exc_info()[1] if given is True else error
        if error is not None:
            self._report(event, error)
        return event


class _Lines:
    """A stream that takes whole lines, from any thread; one that takes nothing stops nobody (F11)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # a signal handler may log while its own thread does

    def write(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


class _Logger:
    """What structlog hands a finished line to; it knows the name of the module that logs."""

    def __init__(self, name: str, lines: _Lines) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = lines.write


def _add_name(logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    event["logger"] = logger.name if record is None else record.name
    return event


def _render_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return _ENCODER.encode(event)


def hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask addresses and secrets in every name and value, however deep."""
    return {
        key if key in _UNTOUCHED_KEYS else _masked(str(key)): value if key in _UNTOUCHED_KEYS else _hidden(value)
        for key, value in event.items()
    }


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return _masked(value)
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    if isinstance(value, Mapping):
        return {_masked(str(key)): _hidden(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(each) for each in value]
    # Whatever else there is would be written out by the renderer, which masks nothing.
    return _masked(repr(value))


def _masked(text: str) -> str:
    # Most names and values can hold neither, and telling so costs a tenth of looking.
    if "@" in text:
        text = _ADDRESS.sub(lambda found: mask(found.group()), text)
    return _SECRET.sub("[hidden]", text) if len(text) >= _SHORTEST_SECRET else text


def _format_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Formatted before `hide`, so that an address inside an exception's text is masked too.
    return structlog.processors.format_exc_info(_logger, _method, event)
