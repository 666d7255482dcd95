"""django-post-office as a program: queues its job's letters, says that it is ready, and on a word drains the queue.

Runs in a virtual environment of its own, with the package's own `send_queued_mail` and nothing of the service.
"""

import json
import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

_CHUNK = 1000


def configure(job: dict[str, Any]) -> None:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **job["database"]}},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=job["port"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        POST_OFFICE={
            "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
            "BATCH_SIZE": job["batch_size"],
            "BATCH_DELIVERY_TIMEOUT": 900,
            "THREADS_PER_PROCESS": job["threads"],
            "MESSAGE_ID_ENABLED": True,
            "LOG_LEVEL": 1,  # a row for each failure; its default writes one for each message too
        },
    )
    django.setup()


def queue(job: dict[str, Any]) -> None:
    from post_office import mail  # noqa: PLC0415 - Django's models can only be imported once it is set up
    from post_office.models import Email, EmailTemplate  # noqa: PLC0415 - as above

    Email.objects.all().delete()
    template, _ = EmailTemplate.objects.update_or_create(
        name="welcome",
        defaults={
            "subject": job["template"]["subject"],
            "content": job["template"]["text"],
            "html_content": job["template"]["html"],
        },
    )
    for start in range(0, job["count"], _CHUNK):
        mail.send_many(
            {
                "sender": job["sender"],
                "recipients": [f"Reader {number} <reader{number}@example.com>"],
                "template": template,
                "context": {**job["variables"], "brand": job["brand"]},
                "render_on_delivery": job["render_on_delivery"],
            }
            for number in range(start, min(start + _CHUNK, job["count"]))
        )


def count_by_status() -> dict[str, int]:
    from django.db.models import Count  # noqa: PLC0415 - as above
    from post_office.models import STATUS, Email  # noqa: PLC0415 - as above

    rows = Email.objects.values_list("status").annotate(Count("id")).order_by("status")
    return {STATUS._fields[status]: number for status, number in rows}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    configure(job)
    if job["is_first"]:
        call_command("migrate", verbosity=0)
    queue(job)
    print(json.dumps({"is_ready": True}), flush=True)
    for _ in sys.stdin:
        call_command("send_queued_mail", processes=job["processes"], lockfile=f"{sys.argv[1]}.lock")
        print(json.dumps(count_by_status()), flush=True)


if __name__ == "__main__":
    main()
