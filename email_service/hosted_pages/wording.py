"""The words of the hosted pages: one TOML file for each locale, all with the same entries. Knows no page."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from email_service.kernel.errors import SettingsError

BASE_LOCALE = "en"

Words = Mapping[str, Any]


def load(folder: Path, brand: str) -> dict[str, Words]:
    """The words by locale, the base locale first; `{brand}` in them is the product's name.

    Raises SettingsError when a file cannot be read, or has other entries than that of the base locale.
    """
    files = sorted(folder.glob("*.toml"), key=lambda path: (path.stem != BASE_LOCALE, path.stem))
    found = {path.stem: _read(path) for path in files}
    if BASE_LOCALE not in found:
        raise SettingsError(f"The words of the hosted pages, {folder / BASE_LOCALE}.toml, are missing.")
    for locale, words in found.items():
        if odd := sorted(_entries(words) ^ _entries(found[BASE_LOCALE])):
            raise SettingsError(f"{folder / locale}.toml and {BASE_LOCALE}.toml do not both have: {', '.join(odd)}.")
    return {locale: _name(words, brand) for locale, words in found.items()}


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
    return str(value).replace("{brand}", brand)
