"""gunicorn as a library: the web processes, each with delivery inside it unless Celery does that."""

import resource
import shutil
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from email_service.celery_app import create_celery, wake_by
from email_service.cli import house
from email_service.cli.patient_worker import PatientWorker
from email_service.engine import create_runner
from email_service.kernel import figures, heap
from email_service.settings import Settings
from email_service.web import metrics

# Longer than an ordinary attempt takes; whatever is cut off is sent again when its lease ends.
GRACEFUL_SECONDS = 60
_RUNNER_STOP_SECONDS = GRACEFUL_SECONDS - 5.0
MOST_CONNECTIONS = 10_000
# Files of the database, connections to Redis, to the broker and to the mail server; more than each thread needs.
_DESCRIPTORS_FOR_EACH_THREAD = 6
_OTHER_DESCRIPTORS = 64


class PlainLogger(Logger):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's messages in the shape of all our logs; requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        """Leave both loggers to the root's handler."""
        self.cfg = cfg
        self.error_log.setLevel("WARNING")
        # gunicorn has taken it away, and a logger without any handler writes bare text.
        self.error_log.propagate = True
        self.access_log.disabled = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing: the application has said it already, with the request's id."""


class Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn with settings of ours; it reads no file and no command line."""

    def __init__(self, settings: Settings, *, bind: str, workers: int, threads: int) -> None:
        self._settings = settings
        self._folder = figures.make_folder()
        self._options = {
            "bind": [bind, *([place_of(*settings.metrics_bind)] if settings.metrics_bind else [])],
            "workers": workers,
            "threads": threads,
            "worker_connections": _make_room(threads, settings.delivery_threads),
            "worker_class": PatientWorker,
            "graceful_timeout": GRACEFUL_SECONDS,
            "timeout": 90,
            "keepalive": 30,
            "logger_class": PlainLogger,
            "control_socket_disable": True,
            "worker_tmp_dir": None,
            "post_worker_init": self._start_delivery,
            "worker_exit": self._stop_delivery,
            "on_exit": lambda _arbiter: shutil.rmtree(self._folder, ignore_errors=True),
        }
        super().__init__()

    def load_config(self) -> None:
        """Take the options as they are."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application, built in the process that serves it: no connection crosses a fork."""
        figures.share(self._folder)
        app = house.watched(self._settings)
        if self._settings.metrics_bind:
            metrics.answer_apart(app, self._settings.metrics_bind[1])
        heap.settle()
        return app

    def _start_delivery(self, worker: Any) -> None:
        worker.delivery = None
        if self._settings.celery_broker_url is not None:
            house.parts(worker.wsgi).wake = wake_by(create_celery(self._settings)).wake
        else:
            worker.delivery = create_runner(worker.wsgi)
            worker.on_stop = worker.delivery.ask_to_stop
            worker.delivery.start()

    def _stop_delivery(self, _arbiter: Any, worker: Any) -> None:
        runner = getattr(worker, "delivery", None)
        if runner is not None:
            runner.stop(_RUNNER_STOP_SECONDS)


def place_of(host: str, port: int) -> str:
    """Address and port as gunicorn and a URL have them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _make_room(web_threads: int, delivery_threads: int) -> int:
    """Allow this process as many open files as it may have use for; how many connections each worker can keep open."""
    needed = _OTHER_DESCRIPTORS + _DESCRIPTORS_FOR_EACH_THREAD * (web_threads + delivery_threads)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + needed
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else soft - needed
    # gunicorn keeps idle connections only where there are more places than threads.
    return max(min(allowed, MOST_CONNECTIONS), web_threads + 1)
