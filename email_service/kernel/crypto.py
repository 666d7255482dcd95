"""Sealing what must be read again, and digests of what must only be recognised.

Knows keys only as text it was given; where they come from and what is sealed is for others to know.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from email_service.kernel.errors import SealBrokenError

_VERSION = b"\x01"
_PURPOSE, _BLINDING = b"email-service/sealing/1", b"email-service/blinding/1"
_STEADY_PURPOSE = b"email-service/steady-sealing/1"
_KEY_OCTETS, _FINGERPRINT_OCTETS, _NONCE_OCTETS = 32, 4, 12
_HEADER_OCTETS = len(_VERSION) + _FINGERPRINT_OCTETS
_TOKEN_OCTETS = 32
_STEADY_KEY_OCTETS = 64  # two keys of AES-256 (RFC 5297 2.2)
_STEADY_FORM = re.compile(r"[A-Za-z0-9_-]{1,1000}")


class Sealer:
    """Seals bytes with AES-256-GCM (NIST SP 800-38D) under a key derived from a secret (RFC 5869).

    A sealed value is one version byte, four bytes that tell which key sealed it, the nonce, and the ciphertext with its
    tag. New values are sealed under `secret`; `fallbacks` are earlier secrets that still open theirs.
    """

    def __init__(self, secret: str, fallbacks: Sequence[str] = ()) -> None:
        self._header, current = _derive(secret)
        self._ciphers = {**dict(map(_derive, fallbacks)), self._header: current}

    def seal(self, plain: bytes, context: str) -> bytes:
        """`plain` unreadable; only the same `context` (such as `messages.variables:<id>`) opens it again."""
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        cipher = self._ciphers[self._header]
        return self._header + nonce + cipher.encrypt(nonce, plain, self._header + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed, or SealBrokenError: unknown key, other context, or not a byte as it was."""
        header, rest = sealed[:_HEADER_OCTETS], sealed[_HEADER_OCTETS:]
        cipher = self._ciphers.get(header)
        if cipher is None:
            raise SealBrokenError
        nonce, ciphertext = rest[:_NONCE_OCTETS], rest[_NONCE_OCTETS:]
        try:
            return cipher.decrypt(nonce, ciphertext, header + context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError from error


class SteadySealer:
    """Seals texts for links with AES-SIV (RFC 5297): the same text and context are always the same value.

    Nothing has to be kept for it, and whoever compares two values learns whether their texts are equal, and no more.
    New values are sealed under `secret`; `fallbacks` are earlier secrets that still open theirs.
    """

    def __init__(self, secret: str, fallbacks: Sequence[str] = ()) -> None:
        self._fingerprint, current = _derive_steady(secret)
        self._ciphers = {**dict(map(_derive_steady, fallbacks)), self._fingerprint: current}

    def seal(self, plain: str, context: str) -> str:
        """Base64url that only the same `context` opens again."""
        sealed = self._ciphers[self._fingerprint].encrypt(plain.encode(), [context.encode()])
        return _written(self._fingerprint + sealed)

    def open(self, sealed: str, context: str) -> str:
        """What was sealed, or SealBrokenError: unknown key, other context, or not a character as it was."""
        octets = _read(sealed)
        cipher = self._ciphers.get(octets[:_FINGERPRINT_OCTETS])
        if cipher is None:
            raise SealBrokenError
        try:
            return cipher.decrypt(octets[_FINGERPRINT_OCTETS:], [context.encode()]).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError from error


class Blinder:
    """Names for what others may count and compare, but not know: HMAC-SHA-256 under a key derived from a secret."""

    def __init__(self, secret: str) -> None:
        self._key = HKDF(SHA256(), _KEY_OCTETS, salt=None, info=_BLINDING).derive(secret.encode())

    def blind(self, text: str) -> str:
        """The same 64 hexadecimal digits for the same text, which tell nobody without the secret what it was."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def hash_secret(secret: str) -> bytes:
    """SHA-256 of a secret of 256 random bits; too fast for anything that a person chose or could guess."""
    # A caller may send a lone surrogate in JSON; it matches nothing, and must not raise.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def random_token() -> str:
    """256 random bits as 43 base64url characters."""
    return secrets.token_urlsafe(_TOKEN_OCTETS)


def matches(secret: str, digest: bytes) -> bool:
    """Whether `digest` is that of `secret`, in a time that does not tell how much of it agrees."""
    return hmac.compare_digest(hash_secret(secret), digest)


def _derive(secret: str) -> tuple[bytes, AESGCM]:
    """What stands before everything that this secret seals, and the cipher that seals it."""
    material = HKDF(SHA256(), _KEY_OCTETS + _FINGERPRINT_OCTETS, salt=None, info=_PURPOSE).derive(secret.encode())
    return _VERSION + material[_KEY_OCTETS:], AESGCM(material[:_KEY_OCTETS])


def _derive_steady(secret: str) -> tuple[bytes, AESSIV]:
    octets = _STEADY_KEY_OCTETS + _FINGERPRINT_OCTETS
    material = HKDF(SHA256(), octets, salt=None, info=_STEADY_PURPOSE).derive(secret.encode())
    return material[_STEADY_KEY_OCTETS:], AESSIV(material[:_STEADY_KEY_OCTETS])


def _written(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _read(written: str) -> bytes:
    """The octets; nothing is read that `_written` would have written otherwise."""
    if not _STEADY_FORM.fullmatch(written) or len(written) % 4 == 1:
        raise SealBrokenError
    octets = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
    if _written(octets) != written:
        raise SealBrokenError
    return octets
