"""What gunicorn reads by itself where it is started, so that the workers of `gunicorn wsgi:application` count together.

`email-service run` does the same by itself, and reads no such file.
"""

import shutil
from typing import Any

from email_service.kernel import figures


def on_starting(server: Any) -> None:
    """Make the folder that the workers share."""
    server.figures = figures.make_folder()


def post_fork(server: Any, worker: Any) -> None:
    """Count in it from the start; an application from before the fork (--preload) has begun to count elsewhere."""
    del worker
    if not server.cfg.preload_app:
        figures.share(server.figures)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(server.figures, ignore_errors=True)
