"""Reads what an SMTP server said: its code, its enhanced code, its wish to be tried later, and its text made harmless.
Knows no socket; takes every octet of a reply for hostile until it is bounded and printable.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

MAX_TEXT_LENGTH = 500
MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60
_MAX_OCTETS_READ = 4096  # enough for 500 characters of a sane server, and little work for those of another

# Not a part of an IP address such as 5.1.1.1.
_ENHANCED_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
_IS_ABOUT_RETRYING = re.compile(r"\b(?:re-?try|try|again|wait|come back|later|grey-?list|gray-?list)", re.IGNORECASE)
_WAIT = re.compile(
    r"\b(?:in|after|for|wait)\s+(?:(?:about|at least|another)\s+)?"
    r"(?:(\d{1,2}):(\d{2}):(\d{2})|(\d{1,7})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?))\b",
    re.IGNORECASE,
)
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, safe to store and to show."""

    code: int
    text: str

    @classmethod
    def read(cls, code: int, octets: bytes, secrets: Sequence[str] = ()) -> Self:
        """The reply as it can be kept: printable, short, and without what we told the server in confidence."""
        return cls(code, printable(octets[:_MAX_OCTETS_READ].decode("utf-8", "replace"), secrets))

    @property
    def is_positive(self) -> bool:
        return self.code // 100 == 2  # noqa: PLR2004 - the reply classes of RFC 5321 4.2.1

    @property
    def is_transient(self) -> bool:
        return self.code // 100 == 4  # noqa: PLR2004 - as above

    @property
    def is_permanent(self) -> bool:
        return self.code // 100 == 5  # noqa: PLR2004 - as above

    @property
    def enhanced_code(self) -> str | None:
        """The RFC 3463 code, when its class agrees with the reply's."""
        for match in _ENHANCED_CODE.finditer(self.text):
            if int(match[1]) == self.code // 100:
                return match[0]
        return None

    @property
    def retry_after_seconds(self) -> int | None:
        """After how long the server asks us to come back, at most a day; only a 4xx can ask."""
        if not self.is_transient or not _IS_ABOUT_RETRYING.search(self.text):
            return None
        match = _WAIT.search(self.text)
        if match is None:
            return None
        hours, minutes, seconds, amount, unit = match.groups()
        if unit:
            wait_seconds = int(amount) * _SECONDS_PER_UNIT[unit[0].lower()]
        else:
            wait_seconds = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
        return min(wait_seconds, MAX_RETRY_AFTER_SECONDS) or None


def printable(text: str, secrets: Sequence[str] = ()) -> str:
    """One line of at most 500 characters without controls, bidi marks, odd spaces or any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    if text.isascii() and text.isprintable():  # nearly always, and one look at each character is most of the cost
        return " ".join(text.split())[:MAX_TEXT_LENGTH]
    visible = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(visible.split())[:MAX_TEXT_LENGTH]
