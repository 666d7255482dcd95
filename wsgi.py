"""The entry for any WSGI server: `gunicorn wsgi:application`. Delivery is a worker's or `run`'s business."""

from email_service.app import configure_logs, create_app
from email_service.kernel import heap
from email_service.settings import load

settings = load()
configure_logs(settings)
application = create_app(settings)
heap.settle()
