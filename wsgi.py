"""The entry for any WSGI server: `gunicorn wsgi:application`. Delivery is a worker's or `run`'s business."""

from email_service.app import create_app

application = create_app()
