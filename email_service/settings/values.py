"""How the text of one variable becomes a value. Each reader raises ValueError with a sentence that says what to write.

Knows no variable by name and never repeats what was written, because it may be a secret.
"""

import re
import ssl
from collections.abc import Callable
from email.utils import unquote
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from limits import parse_many
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from email_service.kernel import addresses
from email_service.kernel.addresses import Mailbox
from email_service.kernel.errors import InvalidInputError

_Checked = TypeVar("_Checked")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SECRET_MINIMUM = 32
_SPANS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def switch(text: str) -> bool:
    """True or false, in the usual spellings."""
    try:
        return _SWITCH[text.strip().lower()]
    except KeyError:
        raise ValueError("write true or false.") from None


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """A reader of whole numbers within these bounds, both included."""

    def read(text: str) -> int:
        digits = text.strip()
        # Twelve digits are more than any bound, and int() takes quadratic time for very long ones.
        if not re.fullmatch(r"[0-9]{1,12}", digits) or not minimum <= int(digits) <= maximum:
            raise ValueError(f"write a whole number from {minimum} to {maximum}.")
        return int(digits)

    return read


def duration(minimum: int, maximum: int) -> Callable[[str], int]:
    """A reader of spans of time such as 90s, 15min, 24h or 7d, in seconds, within these bounds."""

    def read(text: str) -> int:
        form = re.fullmatch(r"([0-9]{1,9}) *(s|min|h|d)", text.strip().lower())
        seconds = int(form[1]) * _SPANS[form[2]] if form else 0
        if not minimum <= seconds <= maximum:
            raise ValueError(f"write a span of time such as 90s, 15min, 24h or 7d, from {minimum} s to {maximum} s.")
        return seconds

    return read


def path(text: str) -> str:
    """An absolute path of a web page, without a query or a fragment."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?", text.strip()):
        raise ValueError("write the path of a page, such as /reset-password.")
    return text.strip()


def choice(words: type[StrEnum]) -> Callable[[str], StrEnum]:
    """A reader of one of an enum's words."""

    def read(text: str) -> StrEnum:
        try:
            return words(text.strip().lower())
        except ValueError:
            raise ValueError(f"write one of: {', '.join(words)}.") from None

    return read


def many(read: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """A reader of values between commas; an empty one is passed over."""
    return lambda text: tuple(read(part.strip()) for part in text.split(",") if part.strip())


def log_level(text: str) -> str:
    """The name of a level of the standard logging module, in capitals."""
    if text.strip().upper() not in _LEVELS:
        raise ValueError(f"write one of: {', '.join(_LEVELS)}.")
    return text.strip().upper()


def secret_key(text: str) -> str:
    """A key that is too long to guess."""
    if len(text.strip()) < _SECRET_MINIMUM:
        raise ValueError(f"each key has to have at least {_SECRET_MINIMUM} characters.")
    return text.strip()


def database_url(text: str) -> str:
    """A SQLAlchemy URL: SQLite with an absolute path, or PostgreSQL over psycopg 3."""
    try:
        parsed = make_url(text.strip())
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is not None and parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    if parsed is None or parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ValueError("write postgresql://user:password@host/name, or sqlite:///path/to/file.db.")
    if not parsed.database or parsed.database.startswith((":", "file:")):
        raise ValueError("SQLite needs a file, because messages must survive a restart: sqlite:///path/to/file.db.")
    path = Path.cwd() / parsed.database
    return parsed.set(drivername="sqlite", database=str(path)).render_as_string(hide_password=False)


def url(*schemes: str) -> Callable[[str], str]:
    """A reader of URLs with a host and one of these schemes."""

    def read(text: str) -> str:
        candidate = text.strip()
        if _split(candidate)[0] not in schemes or re.search(r"[\s\x00-\x1f\x7f<>\"]", candidate):
            raise ValueError(f"write a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}.")
        return candidate

    return read


def origin(text: str) -> str:
    """Scheme, host and port of a web address as a browser would write them (RFC 6454 6.1), without a path."""
    candidate = text.strip().rstrip("/").lower()
    scheme, authority = _split(candidate)
    if scheme not in _DEFAULT_PORTS or candidate != f"{scheme}://{authority}" or not _is_authority(authority):
        raise ValueError("write where the site lives, without a path, such as https://app.example.com.")
    return candidate.removesuffix(f":{_DEFAULT_PORTS[scheme]}")


def host(text: str) -> str:
    """A host name or an IP address, without a port."""
    candidate = text.strip().removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", candidate) and not _is_ip_address(candidate):
        raise ValueError("write a host name or an IP address only, without smtp:// and without a port.")
    return candidate


def listener(text: str) -> tuple[str, int]:
    """Where to listen: an address of this machine and a port."""
    address, _, port = text.strip().rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[A-Fa-f0-9:.]+\]", address) or not _is_authority(
        f"{address}:{port}".lower()
    ):
        raise ValueError("write the address and the port to listen on, such as 0.0.0.0:9464.")
    return address.strip("[]"), int(port)


def served_host(text: str) -> str:
    """A host name that requests may ask for; a leading dot stands for all its subdomains. Ports do not matter."""
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}|\[[A-Fa-f0-9:.]+\]", text):
        raise ValueError("write host names without scheme, port and path, separated by commas.")
    return text.lower()


def existing_file(text: str) -> Path:
    """The absolute path of a file that can be read."""
    path = Path(text.strip()).absolute()
    try:
        path.open("rb").close()
    except (OSError, ValueError):
        raise ValueError("write the path of a file that exists and can be read.") from None
    return path


def folder(text: str) -> Path:
    """The absolute path of a folder that can be read."""
    path = Path(text.strip()).absolute()
    try:
        next(path.iterdir(), None)
    except (OSError, ValueError):
        raise ValueError("write the path of a folder that exists and can be read.") from None
    return path


def certificates(text: str) -> Path:
    """The absolute path of a file with certificates in PEM."""
    path = existing_file(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError):
        raise ValueError("write the path of a file with certificates in PEM (-----BEGIN CERTIFICATE-----).") from None
    return path


def delays(text: str) -> tuple[int, ...]:
    """Spans such as `30s,5m,2h`, in seconds."""
    parts = [re.fullmatch(r"([0-9]{1,7})([smhd])", part.strip().lower()) for part in text.split(",")]
    spans = tuple(int(part[1]) * _UNITS[part[2]] for part in parts if part)
    if len(spans) != len(parts) or min(spans) < 1:
        raise ValueError("write spans separated by commas, each a number above 0 with s, m, h or d, such as 2s,1m,4h.")
    return spans


def rate_limit(text: str) -> str:
    """One or more limits in the notation of the `limits` library."""
    try:
        parse_many(text.strip())
    except ValueError:
        raise ValueError("write a number and a span, such as 100/minute or 5/15 minutes.") from None
    return text.strip()


def color(text: str) -> str:
    """A colour in hexadecimal notation, with six digits: mail programs do not all know the short form."""
    digits = text.strip().lower().removeprefix("#")
    if re.fullmatch(r"[0-9a-f]{3}", digits):
        digits = "".join(digit * 2 for digit in digits)
    if not re.fullmatch(r"[0-9a-f]{6}", digits):
        raise ValueError("write a colour in hexadecimal digits, such as #1f4fd8.")
    return f"#{digits}"


def line(text: str) -> str:
    """One line of text that may stand in a header."""
    return _checked(addresses.display_name, text.strip())


def email(text: str) -> str:
    """One bare address."""
    return _checked(addresses.parse, text.strip()).email


def mailbox(text: str) -> Mailbox:
    """`address`, or `Name <address>` with the name in quotes or not."""
    name, bracket, address = text.strip().rpartition("<")
    if not bracket:
        return Mailbox(email(text), "")
    if not address.endswith(">"):
        raise ValueError("write address@example.com, or Name <address@example.com>.")
    return Mailbox(email(address[:-1]), line(unquote(name.strip())))


def _checked(check: Callable[[str], _Checked], text: str) -> _Checked:
    try:
        return check(text)
    except InvalidInputError as error:
        raise ValueError(error.detail) from error


def _split(candidate: str) -> tuple[str, str]:
    try:
        parts = urlsplit(candidate)
    except ValueError:
        return "", ""
    return (parts.scheme, parts.netloc) if parts.hostname else ("", "")


def _is_authority(authority: str) -> bool:
    matched = re.fullmatch(r"(?:[a-z0-9_.-]+|\[[a-f0-9:.]+\])(?::([0-9]{1,5}))?", authority)
    return matched is not None and 1 <= int(matched[1] or 1) <= 65535  # noqa: PLR2004 the highest TCP port


def _is_ip_address(candidate: str) -> bool:
    try:
        ip_address(candidate)
    except ValueError:
        return False
    return True
