"""What counts as one email address, and which addresses count as the same one for quotas and for suppressions.

Pure text: knows no database and no DNS, and never changes the local part that mail is sent to.
"""

import re
import unicodedata
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from email_service.kernel.errors import InvalidInputError

_ADDRESS_OCTETS, _LOCAL_OCTETS = 254, 64  # RFC 5321 4.5.3.1.1 and the errata of RFC 3696
_NAME_CHARACTERS = 200

# Providers that deliver `a.b+tag` to `ab`, each with the one domain that stands for all its spellings.
_TAG_BLIND_DOMAINS = MappingProxyType({"gmail.com": "gmail.com", "googlemail.com": "gmail.com"})

# email-validator refuses these as not globally deliverable; on a developer's machine and inside a company they are.
_PRIVATE_ROOTS = frozenset({"localhost", "local", "invalid"})

_NOT_BARE = re.compile(r"[<>()\"\[\]\\:]")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_ENCODED_WORD = re.compile(r"=\?|\?=")
_PLAIN_ROOT = re.compile(r"[a-z0-9-]{2,24}")


@dataclass(frozen=True, slots=True)
class Address:
    """One checked address: `email` is what mail goes to, `domain` its part after the @ in lower-case A-labels."""

    email: str
    domain: str

    @property
    def local(self) -> str:
        """The part before the @, as the user gave it."""
        return self.email[: -len(self.domain) - 1]


def parse(value: str) -> Address:
    """The one bare address that `value` is, or InvalidInputError with a sentence that says what to change.

    The domain is mapped by UTS-46 without its transitional rules, so `faß.de` stays apart from `fass.de`.
    """
    local, domain = _split(value)
    stem, dot, root = domain.rpartition(".")
    is_private = root.lower() in _PRIVATE_ROOTS
    try:
        checked = validate_email(
            f"{local}@{stem}{dot}test" if is_private else value,
            strict=True,
            check_deliverability=False,
            test_environment=True,
        )
    except EmailNotValidError as error:
        raise InvalidInputError(str(error)) from error
    ascii_domain = checked.ascii_domain
    if is_private:
        ascii_domain = ascii_domain.removesuffix("test") + root.lower()
    address = Address(f"{local}@{ascii_domain}", ascii_domain)
    _limit_octets(address.email, _ADDRESS_OCTETS, "The email address is too long")
    return address


class Mailbox(NamedTuple):
    """An address, its domain in A-labels, and the name shown with it."""

    email: str
    name: str = ""


def quota_key(address: Address) -> str:
    """What is counted: one key for all spellings that reach, or look like, the same mailbox. Never send mail to it."""
    local = _folded(address.local)
    domain = _TAG_BLIND_DOMAINS.get(address.domain)
    if domain is not None:
        local = local.partition("+")[0].replace(".", "") or local
    return f"{local}@{domain or address.domain}"


def address_key(email: str) -> str:
    """What an address that `parse` made is found by: capitals do not matter, tags do."""
    local, _, domain = email.rpartition("@")
    return f"{unicodedata.normalize('NFC', local.casefold())}@{domain.lower()}"


def mask(email: str) -> str:
    """Enough of an address to recognise it in a log, and never all of it; takes any text."""
    local, at, domain = email.rpartition("@")
    if not at:
        return "***"
    name, _, root = domain.rpartition(".")
    ending = f".{root}" if name and _PLAIN_ROOT.fullmatch(root) else ""
    return f"{_initial(local)}***@{_initial(name)}***{ending}"


def display_name(value: str) -> str:
    """A name that may stand before an address in a header, without what would turn the text around it."""
    if not isinstance(value, str) or len(value) > _NAME_CHARACTERS:
        raise InvalidInputError(f"Use a name of at most {_NAME_CHARACTERS} characters.")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise InvalidInputError("Remove the line breaks and control characters from the name.")
    name = _DIRECTION.sub("", value).strip()
    if _ENCODED_WORD.search(name):
        raise InvalidInputError("Write the name as plain text; remove =? and ?= from it.")
    return name


def _split(value: str) -> tuple[str, str]:
    """Local part and domain, after the checks that cost nothing: an address may be 100 kB of hostile text."""
    if not isinstance(value, str):
        raise InvalidInputError("Give the email address as text.")
    if len(value) > _ADDRESS_OCTETS:
        raise InvalidInputError(f"The email address is too long; at most {_ADDRESS_OCTETS} bytes are allowed.")
    if "," in value or ";" in value:
        raise InvalidInputError("Give exactly one email address, not a list.")
    if any(character.isspace() or unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise InvalidInputError("Remove the spaces, line breaks and control characters from the email address.")
    if _NOT_BARE.search(value):
        raise InvalidInputError(
            "Give the bare email address, such as ada@example.com, without name, quotes or comment."
        )
    local, at, domain = value.partition("@")
    if not at or "@" in domain:
        raise InvalidInputError("An email address has exactly one @, such as ada@example.com.")
    _limit_octets(value, _ADDRESS_OCTETS, "The email address is too long")
    _limit_octets(local, _LOCAL_OCTETS, "The email address is too long before the @")
    return local, domain


def _limit_octets(text: str, most: int, complaint: str) -> None:
    if len(text.encode()) > most:
        raise InvalidInputError(f"{complaint}; at most {most} bytes are allowed.")


def _folded(local: str) -> str:
    # Unicode's NFKC_Casefold: folding can undo the normal form and the other way round, so repeat until it is stable.
    folded, before = local, None
    while folded != before:
        before, folded = folded, _INVISIBLE.sub("", unicodedata.normalize("NFKC", folded).casefold()) or folded
    return folded


def _initial(text: str) -> str:
    return text[:1] if text[:1].isalnum() else ""
