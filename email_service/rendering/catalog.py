"""What templates exist: takes every folder of the templates for one, and refuses one that is not right.

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
from typing import Any

from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError

from email_service.kernel import categories, locales
from email_service.kernel.errors import Fault, InvalidInputError, SettingsError, TemplateUnknownError
from email_service.kernel.lanes import LANES
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering import variables as rules
from email_service.rendering import words
from email_service.rendering.files import BUILTIN, Files
from email_service.rendering.words import LOCALE, Words

LAYOUT = "_layout"
STYLE = f"{LAYOUT}/style.css"
MANIFEST = "manifest.toml"
PARTS = ("subject.txt", "body.html", "body.txt")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_QUOTED_PATH = re.compile(r"""["']([\w./-]+/[\w./-]+)["']""")

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
    template's files, the layout's, those that they take in, and the sentences of all of them in every locale.
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


def load(files: Files) -> Catalog:
    """Every template that there is, or one SettingsError that lists all that is wrong with them."""
    mistakes: list[Fault] = []
    names = [name for name in files.folders() if not name.startswith("_")]
    spoken = words.load(files, names, mistakes)
    templates = {name: _load_template(files, name, spoken, mistakes) for name in names}
    misfits = categories.find_mistakes(template for template in templates.values() if template)
    mistakes += (Fault(f"/{name}/{MANIFEST}/unsubscribe", message) for name, message in misfits)
    if mistakes:
        listed = "; ".join(f"{files.tell(each.pointer[1:])} {each.message}" for each in mistakes)
        raise SettingsError(f"The templates cannot be used: {listed}.", faults=mistakes)
    return Catalog({name: template for name, template in templates.items() if template is not None}, spoken)


@lru_cache(1024)
def _choose(wanted: str, known: tuple[str, ...]) -> str:
    return locales.choose([wanted.replace("_", "-")], known)


def _load_template(files: Files, name: str, spoken: Words, mistakes: list[Fault]) -> Template | None:
    found = list(_name_mistakes(files, name))
    manifest = _read_manifest(files, name, found)
    validator = _compile(manifest["variables"], f"/{name}/{MANIFEST}/variables", found) if manifest else None
    mistakes.extend(found)
    if found or validator is None:
        return None
    own = files.folders(name)
    known = (BASE_LOCALE, *sorted({*own, *spoken.locales_of(name)} - {BASE_LOCALE}))
    return Template(
        name=name,
        description=manifest["description"],
        category=manifest["category"],
        lane=manifest["lane"],
        version=_hash(files, name, spoken, known),
        locales=known,
        own_locales=frozenset(own),
        variables_schema=manifest["variables"],
        sample_variables=manifest.get("sample_variables", {}),
        is_sensitive=manifest.get("sensitive", False),
        on_uncertain=manifest.get("on_uncertain", "retry"),
        can_unsubscribe=manifest.get("unsubscribe", False),
        validator=validator,
    )


def is_name(name: str) -> bool:
    """Whether a template can be called that."""
    return _NAME.fullmatch(name) is not None and name != BUILTIN


def _name_mistakes(files: Files, name: str) -> Iterator[Fault]:
    if not is_name(name):
        rule = f"has to be named with lower-case letters, digits and single hyphens, and other than {BUILTIN}"
        yield Fault(f"/{name}", rule)
    own = files.folders(name)
    for locale in own:
        if not LOCALE.fullmatch(locale) or locale == BASE_LOCALE:
            yield Fault(f"/{name}/{locale}", f"has to be a locale such as pt or pt-BR, and other than {BASE_LOCALE}")
    # A locale brings all three parts: a subject in one language over a body in another would be worse than a fallback.
    for place in (name, *(f"{name}/{locale}" for locale in own)):
        for filename in PARTS:
            if files.find(f"{place}/{filename}") is None:
                yield Fault(f"/{place}/{filename}", "is missing")


def _read_manifest(files: Files, name: str, found: list[Fault]) -> dict[str, Any]:
    pointer = f"/{name}/{MANIFEST}"
    file = files.find(pointer[1:])
    if file is None:
        found.append(Fault(pointer, "is missing"))
        return {}
    try:
        manifest = tomllib.loads(file.text)
        json.dumps(manifest, allow_nan=False)
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


def _hash(files: Files, name: str, spoken: Words, known: tuple[str, ...]) -> str:
    """Over each file's path, length and content, so that no two different folders give the same bytes."""
    paths = _reached(files, name)
    tables = {path.removeprefix(f"{BUILTIN}/").partition("/")[0] for path in paths}
    digest = hashlib.sha256(spoken.fingerprint(tables, known))
    for path in sorted(paths):
        file = files.find(path)
        assert file is not None
        digest.update(f"{path}\0{len(file.content)}\0".encode())
        digest.update(file.content)
    return digest.hexdigest()[:16]


def _reached(files: Files, name: str) -> set[str]:
    """The files of a template and of the layout, and whichever else a path in quotes leads to from there."""
    reached: set[str] = set()
    waiting = [*files.below(LAYOUT), *files.below(name)]
    while waiting:
        path = waiting.pop()
        file = files.find(path)
        if file is not None and path not in reached:
            reached.add(path)
            waiting += _QUOTED_PATH.findall(file.content.decode(errors="replace"))
    return reached
