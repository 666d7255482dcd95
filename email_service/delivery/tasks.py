"""The Celery task that drains a lane. The database is the queue; a task only says that it is worth looking."""

import threading
from collections.abc import Callable, Sequence

import structlog
from celery import Celery
from celery.signals import worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

from email_service.delivery.drain import Drain

DRAIN = "delivery.drain"
TIDY = "service.tidy"

_log = structlog.get_logger(__name__)


def register(celery: Celery, make_drain: Callable[[Sequence[str]], Drain], tidy: Callable[[], int]) -> None:
    """Define the tasks on this Celery application; each of its threads keeps a drain for each lane."""
    stopping = threading.Event()
    drains = threading.local()

    # Celery keeps signal handlers by weak reference.
    @worker_shutting_down.connect(weak=False)
    def _stop(**_: object) -> None:
        stopping.set()

    @celery.task(name=DRAIN, ignore_result=True)
    def drain(lane: str) -> None:
        if not hasattr(drains, lane):
            setattr(drains, lane, make_drain([lane]))
        _attempt(lambda: getattr(drains, lane).run(stopping.is_set))

    @celery.task(name=TIDY, ignore_result=True)
    def forget() -> None:
        _attempt(tidy)


def _attempt(work: Callable[[], int]) -> None:
    try:
        work()
    except SQLAlchemyError as error:
        # The database is away; the next sweep tries again.
        _log.error("database.unavailable", error=type(error).__name__)
