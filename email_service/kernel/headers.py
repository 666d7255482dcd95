"""Which header lines a caller may add to a message, and which characters any part of a header may hold. Knows the names
that the service sets itself; refuses to know how a value is encoded or folded.
"""

import re
import unicodedata
from collections.abc import Mapping

from email_service.kernel.errors import InvalidInputError

MAX_HEADERS = 30
MAX_NAME_LENGTH = 64
MAX_VALUE_LENGTH = 900  # with its name it fits on one line, should it have no space to fold at
MAX_ADDRESS_LENGTH = 320

# Beyond `X-...`, what a sender of transactional mail has a reason to set; none of them routes, signs or identifies.
ALLOWED_NAMES = frozenset({"feedback-id", "importance", "in-reply-to", "list-id", "precedence", "references"})

# Our own marks. A caller who could set them could make one client's mail look like another's.
RESERVED_PREFIXES = ("x-email-service-",)

# Control characters (with DEL and C1), surrogates and the two separators that some readers take for line ends.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_ADDRESS = re.compile(r"[^\s()<>\[\]:;@\\,\"\x00-\x20\x7f]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - the token of RFC 2045, not a secret
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?: ?; ?{_TOKEN}=(?:{_TOKEN}|\"[ !#-\[\]-~]*\"))*")
_CONTENT_ID = re.compile(r"[A-Za-z0-9._%+=-]+(?:@[A-Za-z0-9.-]+)?")
_MESSAGE_ID = re.compile(r"<[!#-;=?A-~]+@[!#-;=?A-~]+>")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise InvalidInputError unless a caller may add all of these to one message."""
    if len(headers) > MAX_HEADERS:
        raise InvalidInputError.at("/headers", f"At most {MAX_HEADERS} headers can be added.")
    seen: set[str] = set()
    for name, value in headers.items():
        check_header(name, value)
        if name.lower() in seen:
            raise InvalidInputError.at(_pointer(name), "This header is given twice; names do not differ by case.")
        seen.add(name.lower())


def check_header(name: str, value: str) -> None:
    """Raise InvalidInputError unless a caller may add this header with this value."""
    pointer = _pointer(name)
    if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidInputError.at(pointer, "A header's name is made of letters, digits and hyphens, 64 at most.")
    folded = name.lower()
    is_extension = folded.startswith("x-") and not folded.startswith(RESERVED_PREFIXES)
    if not is_extension and folded not in ALLOWED_NAMES:
        raise InvalidInputError.at(pointer, f"The header {name} cannot be set; use a name that starts with X-.")
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidInputError.at(pointer, f"A header's value has at most {MAX_VALUE_LENGTH} characters.")
    check_text(pointer, value)
    # These have a syntax of their own, in which RFC 2047 encoding has no place.
    if not is_extension and not value.isascii():
        raise InvalidInputError.at(pointer, f"The header {name} takes ASCII characters only.")


def check_text(pointer: str, value: str) -> None:
    """Raise InvalidInputError when a header made of this could break its line (CVE-2024-6923, CVE-2026-1299)."""
    if value.isascii() and value.isprintable():
        return
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise InvalidInputError.at(pointer, "Line breaks, control characters and surrogates are not allowed here.")


def check_address(pointer: str, value: str) -> None:
    """Raise InvalidInputError unless this is one bare address with a domain of A-labels; a guard, not a validator."""
    check_text(pointer, value)
    if len(value.encode()) > MAX_ADDRESS_LENGTH or not _ADDRESS.fullmatch(value):
        raise InvalidInputError.at(pointer, "This is not one bare email address.")


def check_media_type(pointer: str, value: str) -> None:
    """Raise InvalidInputError unless an attachment can have this type; containers cannot be base64 (RFC 2045 6.4)."""
    if not value.isascii() or len(value) > MAX_VALUE_LENGTH or not _MEDIA_TYPE.fullmatch(value):
        raise InvalidInputError.at(pointer, "This is not a media type, such as application/pdf.")
    if value.lower().startswith(("multipart/", "message/")):
        raise InvalidInputError.at(pointer, "An attachment cannot be multipart/... or message/...")


def check_content_id(pointer: str, value: str) -> None:
    """Raise InvalidInputError unless html can point to this as `cid:...`; given without angle brackets."""
    if not value.isascii() or len(value) > MAX_VALUE_LENGTH or not _CONTENT_ID.fullmatch(value):
        raise InvalidInputError.at(pointer, "A content id has letters, digits and . _ % + = - and at most one @.")


def check_message_id(pointer: str, value: str) -> None:
    """Raise InvalidInputError unless this is a complete Message-ID, with its angle brackets."""
    if not value.isascii() or len(value) > MAX_VALUE_LENGTH or not _MESSAGE_ID.fullmatch(value):
        raise InvalidInputError.at(pointer, "This is not a Message-ID, such as <left@example.com>.")


def _pointer(name: str) -> str:
    """The place of one header in a request (RFC 6901), short even when the name is not."""
    return "/headers/" + name[:MAX_NAME_LENGTH].replace("~", "~0").replace("/", "~1")
