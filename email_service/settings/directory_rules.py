"""How the main app is asked who exists: the URL, the secret that signs the request, and what they mean together.

Knows nothing of how a value was found, and asks nobody.
"""

import base64
import re
from typing import Any
from urllib.parse import urlsplit

from email_service.kernel.errors import Fault
from email_service.kernel.outbound import is_private_host
from email_service.settings import values as parsing

_HTTP = "http"
_KEY_PREFIX, _KEY_OCTETS = "whsec_", range(24, 64 + 1)  # Standard Webhooks, Signature scheme
_FORM = re.compile(r"https?://[^@#?]+(\?[^#]*)?", re.IGNORECASE)


def endpoint(text: str) -> str:
    """The URL of one call, without a login and without a fragment."""
    url = parsing.url("https", "http")(text)
    try:
        is_whole = _FORM.fullmatch(url) and url.isascii() and urlsplit(url).port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError("write the URL of one call, such as https://app.example.com/internal/accounts, with no login.")
    return url


def secret(text: str) -> str:
    """What both sides sign with: whsec_ and a key in base64, or any text that is too long to guess."""
    if not text.strip().startswith(_KEY_PREFIX):
        return parsing.secret_key(text)
    try:
        key = base64.b64decode(text.strip().removeprefix(_KEY_PREFIX), validate=True)
    except ValueError:
        key = b""
    if len(key) not in _KEY_OCTETS:
        raise ValueError("after whsec_ write 24 to 64 random bytes in base64.")
    return text.strip()


def settle(values: dict[str, Any]) -> list[Fault]:
    """What of the directory is missing or contradicts itself."""
    url, private_hosts = values["account_directory_url"], values["account_directory_private_hosts"] or ()
    if values["account_directory"] != _HTTP:
        # Whoever forgot to switch it on would find that nobody gets any mail.
        unused = "set it to http, because ACCOUNT_DIRECTORY_URL is set; or unset both."
        return [Fault("ACCOUNT_DIRECTORY", unused)] if url is not None else []
    faults = []
    if url is None:
        faults.append(Fault("ACCOUNT_DIRECTORY_URL", "set it, because ACCOUNT_DIRECTORY is http."))
    elif urlsplit(url).scheme == "http" and not is_private_host(urlsplit(url).hostname or "", private_hosts):
        in_clear = (
            "use https, or name the host in ACCOUNT_DIRECTORY_PRIVATE_HOSTS: addresses must not cross the internet"
        )
        faults.append(Fault("ACCOUNT_DIRECTORY_URL", f"{in_clear} in the clear."))
    if values["account_directory_secret"] is None:
        faults.append(Fault("ACCOUNT_DIRECTORY_SECRET", "set it, because ACCOUNT_DIRECTORY is http."))
    return faults
