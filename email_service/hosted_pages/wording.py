"""The words of the hosted pages, a TOML file for each locale with the same entries, and which locale a reader gets.

Knows no page and no request.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from email_service.kernel.errors import SettingsError

BASE_LOCALE = "en"
_DIRECTIONS = ("ltr", "rtl")
# First-strong isolate, and its end (Unicode UAX 9): a name from the left keeps its full stop amid words from the right.
_ISOLATED = "\N{FIRST STRONG ISOLATE}%s\N{POP DIRECTIONAL ISOLATE}"
# A line must not end after the first letter of "e-mail"; a word joiner behind the hyphen is not seen (UAX 14).
_LONE_LETTER = re.compile(r"\b(e-)(?=\w)", re.IGNORECASE)

Words = Mapping[str, Any]


def load(folder: Path, brand: str) -> dict[str, Words]:
    """The words by locale, the base locale first; `{brand}` in them is the product's name.

    Raises SettingsError when a file cannot be read, has other entries than that of the base locale, or no direction.
    """
    files = sorted(folder.glob("*.toml"), key=lambda path: (path.stem != BASE_LOCALE, path.stem))
    found = {path.stem: _read(path) for path in files}
    if BASE_LOCALE not in found:
        raise SettingsError(f"The words of the hosted pages, {folder / BASE_LOCALE}.toml, are missing.")
    for locale, words in found.items():
        if odd := sorted(_entries(words) ^ _entries(found[BASE_LOCALE])):
            raise SettingsError(f"{folder / locale}.toml and {BASE_LOCALE}.toml do not both have: {', '.join(odd)}.")
        if words["shared"]["direction"] not in _DIRECTIONS:
            raise SettingsError(f"{folder / locale}.toml: shared.direction is one of {', '.join(_DIRECTIONS)}.")
    return {
        locale: _name(words, brand if words["shared"]["direction"] == "ltr" else _ISOLATED % brand)
        for locale, words in found.items()
    }


def choose(wanted: Iterable[str], locales: Iterable[str]) -> str:
    """The locale for these languages, best first: the same, else a wider one (de-AT: de), else a sibling (pt: pt-BR).

    Each language is looked up before the next one is (RFC 4647, 3.4), so that zh-CN before en is Chinese here.
    """
    known = {locale.casefold(): locale for locale in locales}
    siblings = {name.partition("-")[0]: locale for name, locale in known.items()}
    for language in wanted:
        name = language.casefold()
        while name not in known and "-" in name:
            name = name.rpartition("-")[0]
        if found := known.get(name) or siblings.get(name):
            return found
    return BASE_LOCALE


def _read(path: Path) -> Words:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error


def _entries(words: Words, before: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in words.items():
        found |= _entries(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}"}
    return found


def _name(value: Any, brand: str) -> Any:
    if isinstance(value, dict):
        return {name: _name(each, brand) for name, each in value.items()}
    if isinstance(value, list):
        return [_name(each, brand) for each in value]
    return _LONE_LETTER.sub("\\1\N{WORD JOINER}", str(value)).replace("{brand}", brand)
