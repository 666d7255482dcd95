"""Tokens and codes that are made from a nonce whenever they are needed, so that no usable one is kept anywhere.

Keys are derived (RFC 5869) from a secret that is in no database, and a token is the HMAC-SHA-256 (RFC 2104) of its
nonce. Knows no purpose and no row.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from email_service.kernel.errors import SealBrokenError

CODE_DIGITS = 6

_PURPOSE = b"email-service/tokens/1"
_KEY_OCTETS, _FINGERPRINT_OCTETS, _RANDOM_OCTETS = 32, 4, 32
_PLACE_DIGITS = 12
# RFC 7914 2: 16 MB and about 40 ms a guess, so that a million codes take hours even for someone who has the pepper.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 1024**2, "dklen": 32}


@dataclass(frozen=True, slots=True)
class _Keys:
    token: bytes
    pepper: bytes


class Deriver:
    """Makes secrets of 256 bits and codes of six digits out of nonces, the same ones each time.

    A nonce is four octets that tell which secret it belongs to, and 32 random ones. New nonces belong to `secret`;
    `fallbacks` are earlier secrets whose tokens can still be made.
    """

    def __init__(self, secret: str, fallbacks: Sequence[str] = ()) -> None:
        self._fingerprint, current = _derive(secret)
        self._keys = {**dict(map(_derive, fallbacks)), self._fingerprint: current}

    def new_nonce(self) -> bytes:
        """36 octets; by itself worth nothing."""
        return self._fingerprint + secrets.token_bytes(_RANDOM_OCTETS)

    def token(self, nonce: bytes) -> str:
        """256 bits as 43 base64url characters; SealBrokenError when the nonce's secret is gone."""
        digest = hmac.digest(self._keys_of(nonce).token, b"token" + nonce, hashlib.sha256)
        return _written(digest)

    def code(self, nonce: bytes) -> str:
        """Six decimal digits; SealBrokenError when the nonce's secret is gone."""
        digest = hmac.digest(self._keys_of(nonce).token, b"code" + nonce, hashlib.sha256)
        return f"{int.from_bytes(digest, 'big') % 10**CODE_DIGITS:0{CODE_DIGITS}}"

    def hash_code(self, nonce: bytes, code: str) -> bytes:
        """What is kept of a code: HMAC under a pepper that no database has, then scrypt salted by the nonce."""
        peppered = hmac.digest(self._keys_of(nonce).pepper, code.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return hashlib.scrypt(peppered, salt=nonce, **_SCRYPT)

    def fill(self, variables: dict[str, Any], nonce: bytes) -> dict[str, Any]:
        """The variables with the token and the code where `token_place` and `code_place` of the nonce stand."""
        secrets_by_place = {token_place(nonce): self.token(nonce), code_place(nonce): self.code(nonce)}

        def put(value: Any) -> Any:
            if isinstance(value, str):
                for place, secret in secrets_by_place.items():
                    value = value.replace(place, secret)
                return value
            if isinstance(value, dict):
                return {name: put(each) for name, each in value.items()}
            return [put(each) for each in value] if isinstance(value, list) else value

        return {name: put(value) for name, value in variables.items()}

    def _keys_of(self, nonce: bytes) -> _Keys:
        keys = self._keys.get(nonce[:_FINGERPRINT_OCTETS])
        if keys is None:
            raise SealBrokenError
        return keys


def token_place(nonce: bytes) -> str:
    """What stands for the token in a message that is kept; a URL may hold it."""
    return _written(nonce)


def code_place(nonce: bytes) -> str:
    """What stands for the code: twelve characters, which nobody can know who does not know the nonce."""
    return nonce.hex()[-_PLACE_DIGITS:]


def _written(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _derive(secret: str) -> tuple[bytes, _Keys]:
    material = HKDF(SHA256(), 2 * _KEY_OCTETS + _FINGERPRINT_OCTETS, salt=None, info=_PURPOSE).derive(secret.encode())
    keys = _Keys(material[:_KEY_OCTETS], material[_KEY_OCTETS : 2 * _KEY_OCTETS])
    return material[2 * _KEY_OCTETS :], keys
