"""What may be missing or too much in the words of templates: locales that nobody wrote, sentences that nobody says.

Knows the catalogue of words and where files say something; what makes words unusable is refused when they are loaded.
"""

import re
from collections.abc import Collection, Iterator

from email_service.authoring.findings import Place, Told
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering.catalog import Template
from email_service.rendering.files import BUILTIN, WORDS, Files
from email_service.rendering.words import SHARED, Words

_SAID = re.compile(r"""\bsay\(\s*["']([a-z_]+)["']""")


def find_missing_locales(template: Template, wanted: Collection[str]) -> Iterator[Told]:
    """The locales in which readers get the base locale's mail, because nobody wrote theirs."""
    missing = sorted(each for each in wanted if each != BASE_LOCALE and template.pick_locale(each) == BASE_LOCALE)
    if missing:
        message = f"there are no words for {', '.join(missing)}, so their readers get {BASE_LOCALE}"
        advice = f"Write the table [{template.name}] there, or name the locales that your readers have with --locale."
        yield Told(Place(f"{WORDS}/{missing[0]}.toml"), message, advice, is_error=False)


def find_unsaid(files: Files, words: Words) -> Iterator[tuple[str, Told]]:
    """Sentences that no file says, with the table that they stand in; their translators would work for nobody."""
    said = {(_home(path), entry) for path in files.paths() for entry in _SAID.findall(_read(files, path))}
    for table, entries in words.speak(BASE_LOCALE).tables.items():
        heard = {entry for home, entry in said if table in {SHARED, home}}
        for entry in sorted(entries.keys() - heard):
            place = Place(f"{WORDS}/{BASE_LOCALE}.toml")
            advice = "Take it out of the words of every locale, or say it."
            yield table, Told(place, f"{entry!r} of [{table}] is said by no template", advice, is_error=False)


def _home(path: str) -> str:
    return path.removeprefix(f"{BUILTIN}/").partition("/")[0]


def _read(files: Files, path: str) -> str:
    file = files.find(path)
    return file.content.decode(errors="replace") if file and not path.endswith(".toml") else ""
