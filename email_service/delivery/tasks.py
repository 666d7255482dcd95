"""The Celery task that drains a lane. The database is the queue; a task only says that it is worth looking."""

import threading
from collections.abc import Callable, Sequence

import structlog
from celery import Celery
from celery.signals import worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

from email_service.delivery.drain import Drain
from email_service.messages.service import LANES

DRAIN = "delivery.drain"
TIDY = "service.tidy"
TOKEN = LANES[0]

_log = structlog.get_logger(__name__)


def register(
    celery: Celery,
    make_drain: Callable[[Sequence[str]], Drain],
    tidy: Callable[[], int],
    lanes: Sequence[str],
    threads: int,
) -> None:
    """Define the tasks on this Celery application, whose worker serves these lanes with so many threads.

    A thread drains all of them in their order, but one is always left for token mail alone, so that no backlog of other
    mail keeps a token waiting. A task that finds no place returns: those that have one take its messages too.
    """
    stopping = threading.Event()
    drains = threading.local()
    served = tuple(lane for lane in LANES if lane in lanes)
    places = threading.BoundedSemaphore(max(1, threads - 1))

    def run(lanes: Sequence[str]) -> int:
        if not hasattr(drains, "by_lanes"):
            drains.by_lanes = {}
        if lanes not in drains.by_lanes:
            drains.by_lanes[lanes] = make_drain(lanes)
        handled: int = drains.by_lanes[lanes].run(stopping.is_set)
        return handled

    # Celery keeps signal handlers by weak reference.
    @worker_shutting_down.connect(weak=False)
    def _stop(**_: object) -> None:
        stopping.set()

    @celery.task(name=DRAIN, ignore_result=True, shared=False)
    def drain(lane: str) -> None:
        if lane == TOKEN:
            _attempt(lambda: run((TOKEN,)))
        elif places.acquire(blocking=False):
            try:
                _attempt(lambda: run(served))
            finally:
                places.release()

    @celery.task(name=TIDY, ignore_result=True, shared=False)
    def forget() -> None:
        _attempt(tidy)


def _attempt(work: Callable[[], int]) -> None:
    try:
        work()
    except SQLAlchemyError as error:
        # The database is away; the next sweep tries again.
        _log.error("database.unavailable", error=type(error).__name__)
