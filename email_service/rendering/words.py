"""The sentences of mail: a TOML file for each locale in `_words/`, with a table for each template and one for all.

Knows sentences and the places in them; knows no Jinja, no message and no file but those in `_words/`. A product's own
sentences come before the built-in ones, entry by entry.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from babel import Locale, UnknownLocaleError

from email_service.kernel import locales
from email_service.kernel.errors import Fault
from email_service.kernel.locales import BASE_LOCALE, Texts
from email_service.rendering.files import WORDS, File, Files

SHARED = "shared"  # the table whose sentences every template may say
STRONG = "**"

LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_PLACE = re.compile(r"\{([a-z_]+)\}")
# A no-break space is a word's own business; a direction override would turn what stands behind it.
_CROOKED = re.compile("^ |  | $|[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_PIECE = re.compile(r"(\{[a-z_]+\}|\*\*)")


@dataclass(frozen=True, slots=True)
class Language:
    """What one locale's mail is written with: its sentences by table and entry, and its direction."""

    locale: str = BASE_LOCALE
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def find(self, table: str | None, entry: str) -> str | None:
        """The sentence, from this table or from the one for all."""
        own = self.tables.get(table or SHARED, {})
        return own.get(entry) or self.tables.get(SHARED, {}).get(entry)

    @property
    def known(self) -> Locale:
        """What Babel knows of this locale, or of the one that it varies, or else of the base locale."""
        name = self.locale
        while name:
            try:
                return Locale.parse(name, sep="-")
            except (UnknownLocaleError, ValueError):
                name = name.rpartition("-")[0]
        return Locale.parse(BASE_LOCALE)

    @property
    def direction(self) -> str:
        """As html's `dir`: `ltr` or `rtl`."""
        return self.known.text_direction


@dataclass(frozen=True, slots=True)
class Words:
    """All sentences, by locale."""

    tables: Mapping[str, Texts] = field(default_factory=dict)

    def locales_of(self, template: str) -> list[str]:
        """Those in which there are sentences for this template."""
        return [locale for locale, tables in self.tables.items() if template in tables]

    def speak(self, locale: str) -> Language:
        """The language of mail in this locale; a locale without a file borrows the sentences of its nearest."""
        return Language(locale, self.tables.get(locales.choose([locale], self.tables), {}))

    def fingerprint(self, templates: Collection[str], spoken: Collection[str]) -> bytes:
        """The same for the same sentences of these templates and for all, whatever else the files hold."""
        tables = {locale: self.speak(locale).tables for locale in spoken}
        said = {locale: {name: each.get(name) for name in {SHARED, *templates}} for locale, each in tables.items()}
        return json.dumps(said, sort_keys=True, default=str).encode()


def load(files: Files, templates: Collection[str], mistakes: list[Fault]) -> Words:
    """The words of these templates; what is wrong with them is added to `mistakes`."""
    tables: dict[str, dict[str, Any]] = {}
    own: dict[str, Texts] = {}
    for locale in _find_locales(files):
        for file in files.layers(_path(locale)):
            texts = _read(file, locale, mistakes)
            tables[locale] = _merge(tables.get(locale, {}), texts)
            if file.is_own:
                own[locale] = texts
    found = [*_shape_mistakes(tables, templates)]
    if not found:
        _leave_out_stale(tables, own)
    mistakes += found or _coverage_mistakes(tables)
    return Words(tables)


def split(sentence: str) -> list[str]:
    """The sentence in pieces: words, places such as `{name}`, and `**` around what is strong."""
    return [piece for piece in _PIECE.split(sentence) if piece]


def place_in(piece: str) -> str | None:
    """The name of the place that this piece is, if it is one."""
    found = _PLACE.fullmatch(piece)
    return found[1] if found else None


def _find_locales(files: Files) -> list[str]:
    """Those with a file, the base locale first."""
    paths = map(PurePosixPath, files.below(WORDS))
    return sorted((path.stem for path in paths if path.suffix == ".toml"), key=lambda each: (each != BASE_LOCALE, each))


def _read(file: File, locale: str, mistakes: list[Fault]) -> Texts:
    try:
        return tomllib.loads(file.text)
    except ValueError as error:
        mistakes.append(Fault(_pointer(locale), f"cannot be read: {error}"))
        return {}


def _merge(under: Texts, over: Texts) -> dict[str, Any]:
    """Both, entry by entry; where both have one, it is the one of `over`."""
    merged = {**under, **over}
    for table in under.keys() & over.keys():
        if isinstance(under[table], dict) and isinstance(over[table], dict):
            merged[table] = {**under[table], **over[table]}
    return merged


def _leave_out_stale(tables: Mapping[str, MutableMapping[str, Any]], own: Mapping[str, Texts]) -> None:
    """Take a built-in translation out where the product says other things in the base locale and nothing in this one.

    Its readers then get the whole mail in the base locale, because no mail is in two languages; and a product that
    changes one sentence need not know twelve languages to start.
    """
    for table, entries in own.get(BASE_LOCALE, {}).items():
        for locale, texts in tables.items():
            is_built_in = table in texts and table not in own.get(locale, {})
            if (
                table != SHARED
                and is_built_in
                and not all(_fits(texts[table], each, entries[each]) for each in entries)
            ):
                del texts[table]


def _fits(said: Mapping[str, str], entry: str, base: str) -> bool:
    return entry in said and not _odd_places(said[entry], base)


def _shape_mistakes(tables: Mapping[str, Texts], templates: Collection[str]) -> Iterator[Fault]:
    if tables and BASE_LOCALE not in tables:
        yield Fault(_pointer(BASE_LOCALE), "is missing")
    for locale, texts in tables.items():
        if not LOCALE.fullmatch(locale):
            yield Fault(_pointer(locale), "has to be named after a locale such as pt or pt-BR")
        for table, entries in texts.items():
            if not isinstance(entries, dict):
                yield Fault(_pointer(locale, table), "has to stand in a table")
            elif table not in {SHARED, *templates}:
                yield Fault(_pointer(locale, table), "is no template")
            else:
                for entry, sentence in entries.items():
                    if fault := _find_fault(sentence):
                        yield Fault(_pointer(locale, table, entry), fault)


def _find_fault(sentence: Any) -> str | None:
    if not isinstance(sentence, str) or not sentence or _CROOKED.search(sentence):
        return "has to be one line of words"
    if re.search(r"[{}]", _PLACE.sub("", sentence)):
        return "has a brace that belongs to no place such as {name}"
    if sentence.count(STRONG) % 2:
        return f"has a {STRONG} without its other half"
    return None


def _coverage_mistakes(tables: Mapping[str, Texts]) -> Iterator[Fault]:
    """Where a locale says less, more or other things than the base locale. A whole table may be left out."""
    for locale, texts in tables.items():
        if SHARED in tables[BASE_LOCALE] and SHARED not in texts:
            yield Fault(_pointer(locale, SHARED), "is missing")
        for table, entries in texts.items():
            base = tables[BASE_LOCALE].get(table, {})
            for entry in sorted(base.keys() | entries.keys()):
                if entry not in entries:
                    yield Fault(_pointer(locale, table, entry), "is missing")
                elif entry not in base:
                    yield Fault(_pointer(locale, table, entry), f"is not in {BASE_LOCALE}.toml")
                elif odd := _odd_places(entries[entry], base[entry]):
                    names = ", ".join(f"{{{each}}}" for each in odd)
                    yield Fault(_pointer(locale, table, entry), f"and {BASE_LOCALE}.toml do not both have {names}")


def _odd_places(one: str, other: str) -> list[str]:
    """The places that only one of these sentences has. The brand is always there to be named, or not."""
    return sorted((set(_PLACE.findall(one)) ^ set(_PLACE.findall(other))) - {"brand"})


def _path(locale: str) -> str:
    return f"{WORDS}/{locale}.toml"


def _pointer(locale: str, *place: str) -> str:
    return "/".join(["", _path(locale), *place])
