"""A page of a list, and the cursor that leads to the next one. Knows neither what is listed nor in which order."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from email_service.kernel.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the cursor that leads to the next ones if there are any."""

    data: Sequence[Any]
    next_cursor: str | None


def write_cursor(place: bytes) -> str:
    """The cursor that says where a page ended."""
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def read_cursor(cursor: str) -> bytes:
    """Where the page before ended; what a caller made up is `no_cursor`, here or where the place is understood."""
    try:
        return base64.urlsafe_b64decode(cursor + "==")
    except (binascii.Error, ValueError):
        raise no_cursor() from None


def no_cursor() -> InvalidInputError:
    """What to say of a cursor that no page gave."""
    return InvalidInputError.at("/cursor", "This is no cursor; use next_cursor of the page before.")
