"""The Celery object: one queue for each lane, and a beat that sweeps them. Messages never travel through the broker."""

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from email_service.delivery import tasks
from email_service.delivery.waker import Waker
from email_service.kernel.errors import SettingsError
from email_service.kernel.lanes import LANES
from email_service.settings import Settings

SWEEP_SECONDS = 1.0
_SOCKET_SECONDS = 1.0
_TIDY = {"task": tasks.TIDY, "schedule": 60.0, "options": {"queue": LANES[-1], "expires": 30.0}}


def create_celery(settings: Settings) -> Celery:
    """A Celery application that can publish; `delivery.tasks.register` makes it able to work."""
    if settings.celery_broker_url is None:
        raise SettingsError("CELERY_BROKER_URL is not set: set it, or use `email-service run`, which needs no broker.")
    is_redis = settings.celery_broker_url.startswith("redis")
    celery = Celery("email_service", broker=settings.celery_broker_url, set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_queues=[_queue(lane, is_redis=is_redis) for lane in LANES],
        task_create_missing_queues=False,
        worker_prefetch_multiplier=1,
        # Nobody commands workers through the broker; its mailbox would also shut out a second worker of the same host.
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=30.0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for good: meanwhile the worker looks for what is due by itself
        broker_connection_timeout=_SOCKET_SECONDS,
        broker_transport_options=_transport_options(is_redis=is_redis),
        beat_schedule={**{f"sweep-{lane}": _sweep(lane) for lane in LANES}, "tidy": _TIDY},
        beat_max_loop_interval=SWEEP_SECONDS,
    )
    return celery


def wake_by(celery: Celery) -> Waker:
    """A waker that publishes to this broker, without waiting for it and without trying twice."""
    connection = celery.connection_for_write()
    failures: tuple[type[BaseException], ...] = (
        OperationalError,
        *connection.connection_errors,
        *connection.channel_errors,
    )

    def publish(lane: str) -> None:
        try:
            celery.send_task(tasks.DRAIN, args=[lane], queue=lane, ignore_result=True, retry=False, expires=60)
        except failures as error:
            raise ConnectionError(str(error)) from error

    return Waker(publish)


def _queue(lane: str, *, is_redis: bool) -> Queue:
    # Wake-ups that nobody takes must not pile up; the oldest of them are worth the least.
    quorum = {"x-queue-type": "quorum", "x-max-length": 1000, "x-overflow": "drop-head"}
    return Queue(lane, routing_key=lane, queue_arguments={} if is_redis else quorum)


def _transport_options(*, is_redis: bool) -> dict[str, object]:
    if is_redis:
        return {"socket_timeout": 5.0, "socket_connect_timeout": _SOCKET_SECONDS, "max_retries": 0}
    return {"confirm_publish": True, "max_retries": 0}


def _sweep(lane: str) -> dict[str, object]:
    # A sweep that no worker takes before the next one is worth nothing any more.
    options = {"queue": lane, "expires": SWEEP_SECONDS * 5, "ignore_result": True}
    return {"task": tasks.DRAIN, "schedule": SWEEP_SECONDS, "args": [lane], "options": options}
