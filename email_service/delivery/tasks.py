"""The Celery tasks. The database is the queue; a task only says that it is worth looking at a lane."""

from collections.abc import Callable, Iterable

import structlog
from celery import Celery
from celery.signals import worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

DRAIN = "delivery.drain"
TIDY = "service.tidy"

_log = structlog.get_logger(__name__)


def register(
    celery: Celery,
    *,
    wake: Callable[[Iterable[str]], None],
    tidy: Callable[[], int],
    ask_to_stop: Callable[[], None],
) -> None:
    """Define the tasks on this Celery application; `wake` and `ask_to_stop` are the runner's in the same process.

    A drain returns at once, so that no task is ever old enough to be delivered twice, and one that comes while its lane
    is being looked at makes the runner look again.
    """

    # Celery keeps signal handlers by weak reference.
    @worker_shutting_down.connect(weak=False)
    def _stop(**_: object) -> None:
        ask_to_stop()

    @celery.task(name=DRAIN, ignore_result=True, shared=False)
    def drain(lane: str) -> None:
        wake([lane])

    @celery.task(name=TIDY, ignore_result=True, shared=False)
    def forget() -> None:
        try:
            tidy()
        except SQLAlchemyError as error:
            # The database is away; the next turn tries again.
            _log.error("database.unavailable", error=type(error).__name__)
