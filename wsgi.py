"""The entry for any WSGI server: `gunicorn wsgi:application`. Delivery is a worker's or `run`'s business."""

from email_service.app import create_app
from email_service.cli import house, observation
from email_service.kernel import heap
from email_service.settings import load

settings = load()
traces = observation.begin(settings)
application = create_app(settings)
house.parts(application).traces = traces
heap.settle()
