"""The entry for any WSGI server: `gunicorn wsgi:application`. Delivery is a worker's or `run`'s business.

Its processes count for the scrape of their figures what `gunicorn.conf.py` has them count together.
"""

from email_service.cli import house
from email_service.kernel import heap
from email_service.settings import load

application = house.watched(load())
heap.settle()
