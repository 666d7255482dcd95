"""The words of the hosted pages: a TOML file for each locale, all with the same entries.

Knows no page and no request.
"""

import re
from pathlib import Path
from typing import Any

from email_service.kernel import locales
from email_service.kernel.errors import SettingsError
from email_service.kernel.locales import BASE_LOCALE, ISOLATE, ISOLATE_END, Texts

_DIRECTIONS = ("ltr", "rtl")
# A line must not end after the first letter of "e-mail"; a word joiner behind the hyphen is not seen (UAX 14).
_LONE_LETTER = re.compile(r"\b(e-)(?=\w)", re.IGNORECASE)


def load(folder: Path, brand: str) -> dict[str, Texts]:
    """The words by locale, the base locale first; `{brand}` in them is the product's name.

    Raises SettingsError when a file cannot be read, has other entries than that of the base locale, or no direction.
    """
    found = {locale: locales.read(path) for locale, path in locales.find(folder).items()}
    if BASE_LOCALE not in found:
        raise SettingsError(f"The words of the hosted pages, {folder / BASE_LOCALE}.toml, are missing.")
    for locale, words in found.items():
        if odd := sorted(locales.flatten(words).keys() ^ locales.flatten(found[BASE_LOCALE]).keys()):
            raise SettingsError(f"{folder / locale}.toml and {BASE_LOCALE}.toml do not both have: {', '.join(odd)}.")
        if words["shared"]["direction"] not in _DIRECTIONS:
            raise SettingsError(f"{folder / locale}.toml: shared.direction is one of {', '.join(_DIRECTIONS)}.")
    return {
        locale: _name(words, brand if words["shared"]["direction"] == "ltr" else f"{ISOLATE}{brand}{ISOLATE_END}")
        for locale, words in found.items()
    }


def _name(value: Any, brand: str) -> Any:
    if isinstance(value, dict):
        return {name: _name(each, brand) for name, each in value.items()}
    if isinstance(value, list):
        return [_name(each, brand) for each in value]
    return _LONE_LETTER.sub("\\1\N{WORD JOINER}", str(value)).replace("{brand}", brand)
