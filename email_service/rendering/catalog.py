"""What templates exist: reads every `templates/email/<name>/` once, and refuses a folder that is not right.

Knows manifests, versions, locales, words and which variables a template takes; renders nothing.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError

from email_service.kernel import categories, locales
from email_service.kernel.errors import Fault, InvalidInputError, SettingsError, TemplateUnknownError
from email_service.kernel.lanes import LANES
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering import variables as rules
from email_service.rendering import words
from email_service.rendering.words import LOCALE, Words

LAYOUT = "_layout"
MANIFEST = "manifest.toml"
PARTS = ("subject.txt", "body.html", "body.txt")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# These names reach every template from the renderer, so a variable of the same name would be hidden or would hide them.
_RESERVED = frozenset({"brand", "direction", "locale", "say", "subject", "unsubscribe_url"})

_MANIFEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["description", "category", "lane", "variables"],
    "properties": {
        "description": {"type": "string", "minLength": 1},
        "category": {"type": "string", "minLength": 1},
        "lane": {"enum": list(LANES)},
        "sensitive": {"type": "boolean"},
        "on_uncertain": {"enum": ["retry", "hold"]},
        "unsubscribe": {"type": "boolean"},
        "sample_variables": {"type": "object"},
        "variables": {
            "type": "object",
            "required": ["type", "additionalProperties", "properties", "required"],
            "properties": {
                "type": {"const": "object"},
                "additionalProperties": {"const": False},
                "properties": {"type": "object"},
                "required": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}
_MANIFEST_VALIDATOR = Draft202012Validator(_MANIFEST_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template, as its manifest describes it. `locales` starts with the base locale.

    `version` is the first 16 hex digits of a SHA-256 over all that a mail is made from, brand and variables aside: the
    template's files, the layout's, and its sentences in every locale.
    """

    name: str
    description: str
    category: str
    lane: str
    version: str
    locales: tuple[str, ...]
    own_locales: frozenset[str]  # those with files of their own; the others share the files of the base locale
    variables_schema: dict[str, Any]
    sample_variables: dict[str, Any]
    is_sensitive: bool
    on_uncertain: str  # "retry" or "hold"
    can_unsubscribe: bool  # whether readers may go without its category
    validator: Draft202012Validator = field(repr=False, compare=False)

    @property
    def optional_category(self) -> str | None:
        """The category, if a reader can unsubscribe from it."""
        return self.category if self.can_unsubscribe else None

    def check_variables(self, variables: Mapping[str, Any]) -> None:
        """Raise InvalidInputError with a fault for each variable that is missing, mistyped or unknown."""
        faults = rules.find_faults(variables, self.validator, self.variables_schema)
        if faults:
            first = faults[0]
            raise InvalidInputError(
                f"The variables do not fit the template {self.name!r}: {first.pointer} {first.message}.", faults=faults
            )

    def pick_locale(self, locale: str | None) -> str:
        """The best locale there is: `pt-BR`, else `pt`, else a sibling of either, else the base locale."""
        return _choose(locale, self.locales) if locale else self.locales[0]

    def part(self, locale: str, filename: str) -> str:
        """The path of one of PARTS below the templates folder."""
        return f"{self.name}/{locale}/{filename}" if locale in self.own_locales else f"{self.name}/{filename}"

    def parts(self, locale: str) -> tuple[str, str, str]:
        """The paths of subject, html and text."""
        subject, html, text = PARTS
        return self.part(locale, subject), self.part(locale, html), self.part(locale, text)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every template by its name; iterating yields the templates in the order of their names."""

    templates: Mapping[str, Template]
    words: Words = field(default_factory=Words)

    def get(self, name: str) -> Template:
        """The template of this name, or TemplateUnknownError with the names that come close."""
        if name in self.templates:
            return self.templates[name]
        close = get_close_matches(name[:100], self.templates, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(self.templates)}."
        raise TemplateUnknownError.at("/template", f"No template is named {name[:100]!r}; {hint}")

    def names(self) -> tuple[str, ...]:
        return tuple(self.templates)

    def optional_category(self, name: str) -> str | None:
        """The template's category, if a reader can unsubscribe from it; None too when there is no such template."""
        return self.templates[name].optional_category if name in self.templates else None

    def optional_categories(self) -> tuple[str, ...]:
        """All that a reader can unsubscribe from, by name."""
        return tuple(sorted({template.category for template in self if template.can_unsubscribe}))

    def check_category(self, category: str) -> str:
        """The category; InvalidInputError when a suppression of it would stop nothing."""
        known = (categories.EVERYTHING, categories.OPTIONAL, *self.optional_categories())
        if category not in known:
            raise InvalidInputError.at("/category", f"Nobody can unsubscribe from this; known: {', '.join(known)}.")
        return category

    def __iter__(self) -> Iterator[Template]:
        return iter(self.templates.values())

    def __contains__(self, name: object) -> bool:
        return name in self.templates

    def __len__(self) -> int:
        return len(self.templates)


def load(folder: Path) -> Catalog:
    """Read every template below `folder`, or raise one SettingsError that lists all that is wrong with them."""
    if not folder.is_dir():
        raise SettingsError(f"The templates folder {folder} does not exist.")
    mistakes: list[Fault] = []
    names = [each.name for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith((".", "_"))]
    spoken = words.load(folder, names, mistakes)
    templates = {name: _load_template(folder, name, spoken, mistakes) for name in names}
    misfits = categories.find_mistakes(template for template in templates.values() if template)
    mistakes += (Fault(f"/{name}/{MANIFEST}/unsubscribe", message) for name, message in misfits)
    if mistakes:
        listed = "; ".join(f"{each.pointer[1:]} {each.message}" for each in mistakes)
        raise SettingsError(f"The templates in {folder} cannot be used: {listed}.", faults=mistakes)
    return Catalog({name: template for name, template in templates.items() if template is not None}, spoken)


@lru_cache(1024)
def _choose(wanted: str, known: tuple[str, ...]) -> str:
    return locales.choose([wanted.replace("_", "-")], known)


def _load_template(folder: Path, name: str, spoken: Words, mistakes: list[Fault]) -> Template | None:
    home = folder / name
    found = list(_name_mistakes(name, home))
    manifest = _read_manifest(home / MANIFEST, found)
    validator = _compile(manifest["variables"], f"/{name}/{MANIFEST}/variables", found) if manifest else None
    mistakes.extend(found)
    if found or validator is None:
        return None
    own = _locale_folders(home)
    known = (BASE_LOCALE, *sorted({*own, *spoken.locales_of(name)} - {BASE_LOCALE}))
    digest = hashlib.sha256(spoken.fingerprint(name, known))
    for each in (folder / LAYOUT, home):
        _hash_files(digest, folder, each)
    return Template(
        name=name,
        description=manifest["description"],
        category=manifest["category"],
        lane=manifest["lane"],
        version=digest.hexdigest()[:16],
        locales=known,
        own_locales=frozenset(own),
        variables_schema=manifest["variables"],
        sample_variables=manifest.get("sample_variables", {}),
        is_sensitive=manifest.get("sensitive", False),
        on_uncertain=manifest.get("on_uncertain", "retry"),
        can_unsubscribe=manifest.get("unsubscribe", False),
        validator=validator,
    )


def _name_mistakes(name: str, home: Path) -> Iterator[Fault]:
    if not _NAME.fullmatch(name):
        yield Fault(f"/{name}", "has to be named with lower-case letters, digits and single hyphens")
    own = _locale_folders(home)
    for locale in own:
        if not LOCALE.fullmatch(locale) or locale == BASE_LOCALE:
            yield Fault(f"/{name}/{locale}", f"has to be a locale such as pt or pt-BR, and other than {BASE_LOCALE}")
    # A locale brings all three parts: a subject in one language over a body in another would be worse than a fallback.
    for place in (home, *(home / locale for locale in own)):
        for filename in PARTS:
            if not (place / filename).is_file():
                yield Fault(f"/{(place / filename).relative_to(home.parent).as_posix()}", "is missing")


def _locale_folders(home: Path) -> list[str]:
    return sorted(each.name for each in home.iterdir() if each.is_dir() and not each.name.startswith("."))


def _read_manifest(path: Path, found: list[Fault]) -> dict[str, Any]:
    pointer = f"/{path.parent.name}/{path.name}"
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        json.dumps(manifest, allow_nan=False)
    except FileNotFoundError:
        found.append(Fault(pointer, "is missing"))
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        found.append(Fault(pointer, f"is not valid TOML: {error}"))
        return {}
    except (TypeError, ValueError):
        found.append(Fault(pointer, "holds a value that JSON does not know, such as a date; write it as a string"))
        return {}
    before = len(found)
    for finding in _MANIFEST_VALIDATOR.iter_errors(manifest):
        found.extend(Fault(pointer + each.pointer, each.message) for each in rules.explain(finding))
    if len(found) > before:
        return {}
    found.extend(
        Fault(f"{pointer}/variables/properties/{name}", "is a name that every template already has")
        for name in sorted(_RESERVED & manifest["variables"]["properties"].keys())
    )
    return manifest


def _compile(schema: dict[str, Any], pointer: str, found: list[Fault]) -> Draft202012Validator | None:
    try:
        return rules.compile_schema(schema)
    except (ValidationError, ReferencingError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        found.append(Fault(pointer, f"is not a JSON Schema that can be used here: {reason}"))
        return None


def _hash_files(digest: Any, folder: Path, home: Path) -> None:
    """Feed each file's path, length and content, so that no two different folders give the same bytes."""
    for path in sorted(home.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
