"""What a run left behind - rows, queues, logs - searched for secrets in every spelling, and for strings worth trying.

Knows no pytest and no server; whoever has the octets hands them over.
"""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

TOKEN_OCTETS = 32
_TOKEN_LENGTH = 43
_WORD = re.compile(rb"[A-Za-z0-9_-]{43,200}")
_HEX = re.compile(rb"[0-9a-f]{40,400}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{43,200}={0,2}")


def spellings(secret: str) -> set[bytes]:
    """The secret as it is, in a URL, backwards, in hexadecimal and in base64; and its 256 bits, if it has so many."""
    forms = [secret.encode()]
    if len(secret) == _TOKEN_LENGTH:
        forms.append(base64.urlsafe_b64decode(secret + "="))
    found = {secret.encode(), quote(secret, safe="").encode(), secret[::-1].encode()}
    for octets in forms:
        found |= {octets, octets.hex().encode(), octets.hex().upper().encode()}
        found |= {encode(octets).rstrip(b"=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return found


def is_in(secret: str, remains: bytes) -> bool:
    """Whether any spelling of a long secret is there, or a code as a word of its own.

    Six digits stand in every time and in many an id, so a code counts where no letter, digit, dot or dash is beside it.
    """
    if secret.isdecimal():
        code = secret.encode()
        forms = [rb"(?<![0-9A-Za-z.-])" + code + rb"(?![0-9A-Za-z-])", re.escape(base64.b64encode(code))]
        return any(re.search(form, remains) for form in forms)
    return any(spelling in remains for spelling in spellings(secret))


def find_leaks(secrets: Iterable[str], remains: bytes) -> list[str]:
    """Those of the secrets that are there."""
    return [secret for secret in secrets if is_in(secret, remains)]


def candidates(remains: bytes) -> set[str]:
    """Each string of a token's length that somebody could try: words, and what octets written in other ways come to."""
    octets = [bytes.fromhex(found[: len(found) // 2 * 2].decode()) for found in set(_HEX.findall(remains))]
    for found in set(_BASE64.findall(remains)):
        bare = found.rstrip(b"=")
        octets.append(base64.b64decode(bare + b"=" * (-len(bare) % 4)) if len(bare) % 4 != 1 else b"")
    words = set().union(*(_WORD.findall(each) for each in (remains, *octets)))
    tried = {word[at:][:_TOKEN_LENGTH].decode() for word in words for at in (0, -_TOKEN_LENGTH)}
    for each in octets:
        for part in (each[:TOKEN_OCTETS], each[4:][:TOKEN_OCTETS], each[-TOKEN_OCTETS:]):
            tried.add(base64.urlsafe_b64encode(part).decode().rstrip("="))
    return {each for each in tried if len(each) == _TOKEN_LENGTH}
