"""Reads what templates promise to those who send them, from a folder of templates, one template or one manifest.

Needs no more than the manifests to be right, so that an old release can be read whatever has changed since.
"""

import tomllib
from pathlib import Path
from typing import Any

from email_service.authoring.comparison import Contract
from email_service.kernel.errors import SettingsError
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering.catalog import MANIFEST
from email_service.rendering.files import WORDS


def read_pair(old: Path, new: Path) -> tuple[dict[str, Contract], dict[str, Contract]]:
    """Both; one template is compared with one template, whatever the folders are called."""
    before, after = read(old), read(new)
    if _is_single(old) and _is_single(new):
        before = dict(zip(after, before.values(), strict=True))
    return before, after


def read(place: Path) -> dict[str, Contract]:
    """The templates by their names. Raises SettingsError for a place that has none, or one that cannot be read."""
    if _is_single(place):
        manifest = place / MANIFEST if place.is_dir() else place
        home = manifest.absolute().parent
        return {home.name: _read_contract(manifest, _read_words(home.parent / WORDS))}
    if not place.is_dir():
        raise SettingsError(f"{place} is neither a folder of templates nor a manifest; name one that exists.")
    words = _read_words(place / WORDS)
    found = {each.parent.name: _read_contract(each, words) for each in sorted(place.glob(f"*/{MANIFEST}"))}
    if not found:
        raise SettingsError(f"{place} holds no template: name the folder in which each template is a folder.")
    return found


def _is_single(place: Path) -> bool:
    return place.is_file() or (place / MANIFEST).is_file()


def _read_contract(manifest: Path, words: dict[str, dict[str, Any]]) -> Contract:
    home = manifest.absolute().parent
    variables = _read_toml(manifest).get("variables")
    if not isinstance(variables, dict):
        raise SettingsError(f"{manifest} has no table [variables]; `email-service template check` says what it needs.")
    folders = (each.name for each in home.iterdir() if each.is_dir() and not each.name.startswith("."))
    spoken = (locale for locale, tables in words.items() if home.name in tables)
    return Contract(variables=variables, locales=frozenset({BASE_LOCALE, *folders, *spoken}))


def _read_words(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: _read_toml(path) for path in sorted(folder.glob("*.toml"))}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}. Mend it, or compare with another version.") from error
