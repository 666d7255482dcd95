"""The entry for any WSGI server: `gunicorn wsgi:application`. Delivery is a worker's or `run`'s business."""

from email_service.cli import house
from email_service.kernel import heap
from email_service.settings import load

application = house.watched(load())
heap.settle()
