"""The service with a fault on purpose, for `timing.py` alone: whoever asks for an existing account waits longer.

gunicorn serves `slowed:application`; nothing else imports it.
"""

import io
import json
import time
from collections.abc import Iterable
from typing import Any

from wsgi import application as service

PAUSE_SECONDS = 0.002


def is_known(number: int) -> bool:
    """Whether the reader of this number has an account: the even ones do."""
    return number % 2 == 0


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Wait, if the address in the body is one that exists, and then let the service answer."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    number = json.loads(body)["email"].partition("@")[0].rpartition("-")[2]
    if is_known(int(number)):
        time.sleep(PAUSE_SECONDS)
    return service(environ, start_response)  # type: ignore[no-any-return]
