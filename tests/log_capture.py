"""What the service would write to standard error while a block runs. Knows no test."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any

import structlog

from email_service.kernel import logs


@contextmanager
def captured_logs(*, level: str = "INFO", is_human: bool = False) -> Iterator[StringIO]:
    """The logs as they are configured in production; pytest's own handlers are back at the end."""
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    with redirect_stderr(StringIO()) as stream:
        logs.configure(level=level, is_human=is_human)
        # What the last request of this thread bound would stand in these lines too.
        structlog.contextvars.clear_contextvars()
        try:
            yield stream
        finally:
            root.handlers[:] = handlers
            root.setLevel(root_level)
            structlog.reset_defaults()


def parsed(stream: StringIO) -> list[dict[str, Any]]:
    """Each line as the event it is; a line that is no event is an error."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]
