"""`email-service dkim`: what to publish so that receivers can check the signatures.

Reads the settings and the key files; asks neither the database nor DNS.
"""

import click

from email_service.delivery.dkim import dns_name, dns_record
from email_service.settings import load

_STRING_OCTETS = 255  # RFC 1035 3.3: what one string of a TXT record holds; the reader joins them


@click.group()
def dkim() -> None:
    """Signatures of outgoing mail."""


@dkim.command()
def record() -> None:
    """Print the DNS record of each key of DKIM_KEYS, as a zone file has it."""
    keys = load().dkim_keys
    if not keys:
        raise click.UsageError("DKIM_KEYS is not set; write domain:selector:/path/to/private-key.pem.")
    for key in keys:
        strings = " ".join(f'"{part}"' for part in _pieces(dns_record(key)))
        print(f"{dns_name(key)}. IN TXT ( {strings} )")


def _pieces(text: str) -> list[str]:
    return [text[start : start + _STRING_OCTETS] for start in range(0, len(text), _STRING_OCTETS)]
