"""Texts in several languages: a folder with a TOML file for each locale, and which of the locales a reader gets.

Knows neither what the entries are for nor who reads them.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from email_service.kernel.errors import SettingsError

BASE_LOCALE = "en"
# First-strong isolate, and its end (Unicode UAX 9): a name from the left keeps its full stop amid words from the right.
ISOLATE, ISOLATE_END = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"

Texts = Mapping[str, Any]


def find(folder: Path) -> dict[str, Path]:
    """The files by locale, the base locale first."""
    files = sorted(folder.glob("*.toml"), key=lambda path: (path.stem != BASE_LOCALE, path.stem))
    return {path.stem: path for path in files}


def read(path: Path) -> Texts:
    """What one file says. Raises SettingsError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error


def flatten(texts: Texts, before: str = "") -> dict[str, Any]:
    """Every entry by where it stands, such as `confirm.errors.code`."""
    found: dict[str, Any] = {}
    for name, value in texts.items():
        found |= flatten(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


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
