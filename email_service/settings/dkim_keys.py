"""Which keys sign mail, and how a file becomes a private key: RSA or Ed25519 in PEM, long enough to be believed.

Knows nothing of messages and signatures. No sentence and no repr from here holds a part of a key.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from email_service.settings.mail_values import domain

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

_RSA_BITS = range(1024, 4096 + 1)  # RFC 8301 3.2: what every verifier has to accept
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A private key in a file; its public half is published at `<selector>._domainkey.<domain>`."""

    domain: str  # lower-case A-labels
    selector: str
    path: Path


def dkim_keys(text: str) -> tuple[DkimKey, ...]:
    """Entries `domain:selector:/path/to/private-key.pem` between commas; each file was read and holds a fit key."""
    keys: list[DkimKey] = []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for number, part in enumerate(parts, start=1):
        try:
            key = _entry(part)
            private_key(key.path)
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from None
        if any((key.domain, key.selector) == (other.domain, other.selector) for other in keys):
            raise ValueError(f"entry {number}: this domain has a key with this selector already; use another selector.")
        keys.append(key)
    return tuple(keys)


def private_key(path: Path) -> PrivateKey:
    """The key in a file; raises ValueError with what to change, and never with what the file holds."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError):
        raise ValueError("write the path of a private key file that exists and can be read.") from None
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ValueError("the private key is encrypted; store it without a passphrase, readable by us only.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the file has to hold a private key in PEM (PKCS#8 or PKCS#1).") from None
    match key:
        case RSAPrivateKey() if key.key_size in _RSA_BITS:
            return key
        case RSAPrivateKey():
            raise ValueError(f"an RSA key needs {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits; 2048 is the usual size.")
        case Ed25519PrivateKey():
            return key
        case _:
            raise ValueError("the key has to be RSA or Ed25519; no other kind signs mail.")


def _entry(text: str) -> DkimKey:
    name, _, rest = text.partition(":")
    selector, _, path = rest.partition(":")
    selector = selector.strip().lower()
    if not path.strip():
        raise ValueError("write domain:selector:/path/to/private-key.pem.")
    if not _SELECTOR.fullmatch(selector):
        raise ValueError("a selector has letters, digits, inner hyphens and dots only.")
    return DkimKey(domain(name), selector, Path(path.strip()).absolute())
