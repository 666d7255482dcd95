"""Passwords: which are accepted, and how they are kept (scrypt). Knows no user, and never keeps a password itself.

Twelve characters: OWASP ASVS 5.0 (6.2.1) demands 8 and recommends 15. Any character counts, none is demanded (6.2.5);
a list of what is guessed first (6.2.4) and the person's own words (6.2.11) are refused.
"""

import re
import unicodedata
from functools import cache
from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

from main_app.faults import FaultError

_SHORTEST, _LONGEST = 12, 200  # so that nobody has us hash a megabyte
_FEWEST_DIFFERENT = 5
_TELLING = 4  # characters of a personal word; shorter ones are in passwords by chance
_LIST = Path(__file__).with_name("common_passwords.txt")


def check(password: str, *, email: str, name: str = "") -> None:
    """FaultError when this is no password for this person."""
    if len(password) < _SHORTEST:
        raise FaultError("password_short")
    if len(password) > _LONGEST:
        raise FaultError("password_long")
    plain = _normal(password).casefold()
    if len(set(plain)) < _FEWEST_DIFFERENT or _stem(plain) in _common():
        raise FaultError("password_common")
    words = [email.partition("@")[0], *name.split()]
    if any(len(word) >= _TELLING and word.casefold() in plain for word in words):
        raise FaultError("password_personal")


def make_hash(password: str) -> str:
    return generate_password_hash(_normal(password), method="scrypt")


def matches(password_hash: str | None, password: str) -> bool:
    """Whether it is the password. Without a hash it takes as long, so that time tells nobody who has an account."""
    is_right = check_password_hash(password_hash or _nobodys(), _normal(password[:_LONGEST]))
    return is_right and password_hash is not None and len(password) <= _LONGEST


def _normal(password: str) -> str:
    # One keyboard writes an umlaut as one character, another one as two (NIST SP 800-63B 3.1.1.2).
    return unicodedata.normalize("NFKC", password)


def _stem(plain: str) -> str:
    """What is left when digits and signs around it are dropped: `password2026!` is `password`."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", plain) or plain


@cache
def _common() -> frozenset[str]:
    lines = _LIST.read_text(encoding="utf-8").split()
    return frozenset(lines) | {_stem(line) for line in lines}


@cache
def _nobodys() -> str:
    return make_hash("nobody has this password")
