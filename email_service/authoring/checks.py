"""What `email-service template check` finds wrong with templates before anybody receives one of them.

Reads and renders; the rules are in the modules beside this one.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from email_service.authoring import sources, words_rules
from email_service.authoring.findings import Finding, Place, Told
from email_service.authoring.trials import Trial, Workbench
from email_service.kernel.errors import SettingsError
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering import variables
from email_service.rendering.catalog import LAYOUT, MANIFEST, Catalog, Template
from email_service.rendering.files import Files
from email_service.rendering.sandbox import Sandbox
from email_service.rendering.variables import Brand


def pass_over(_name: str) -> None:
    """For those who do not watch how far a check has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is checked."""

    names: Collection[str] = ()  # of templates; none: all
    locales: Collection[str] = ()  # that readers have; none: all in which anything is said
    on_template: Callable[[str], None] = pass_over  # called with each template's name when it was checked


_EVERYTHING = Scope()


def check(files: Files, brand: Brand, scope: Scope = _EVERYTHING) -> list[Finding]:
    """Everything that there is to change, or an empty list. Raises TemplateUnknownError for a name of the scope."""
    try:
        bench = Workbench.load(files, brand)
    except SettingsError as error:
        return find_misloaded(files, error)
    return check_loaded(bench, scope)


def check_loaded(bench: Workbench, scope: Scope = _EVERYTHING) -> list[Finding]:
    """The same for templates that could be loaded."""
    found: list[Finding] = []
    templates = [bench.templates.get(name) for name in scope.names] or list(bench.templates)
    for template in templates:
        found += _finished(bench.files, template.name, _check_one(bench, template, scope.locales))
        scope.on_template(template.name)
    for table, told in words_rules.find_unsaid(bench.files, bench.templates.words):
        if not scope.names or table in scope.names:
            found += _finished(bench.files, table, [told])
    if not scope.names:
        layout = (told for path in bench.files.below(LAYOUT) for told in sources.find_plain_links(bench.files, path))
        found += _finished(bench.files, LAYOUT, layout)
    return list(dict.fromkeys(found))


def find_misloaded(files: Files, error: SettingsError) -> list[Finding]:
    """Why the templates could not be loaded; each fault points into a file."""
    found: list[Finding] = []
    for fault in error.faults:
        steps = fault.pointer[1:].split("/")
        ends = range(len(steps), 0, -1)
        path = next((path for end in ends if files.find(path := "/".join(steps[:end]))), fault.pointer[1:])
        inner = fault.pointer[1:].removeprefix(path).strip("/")
        told = Told(
            Place(path, _find_line(files, path, inner.split("/"))),
            f"{inner} {fault.message}".strip(),
            "Nothing else can be checked, and the service does not start, until this is changed.",
        )
        found += _finished(files, "" if steps[0].startswith("_") else steps[0], [told])
    return found


def _check_one(bench: Workbench, template: Template, locales: Collection[str]) -> Iterator[Told]:
    spoken = [locale for locale in template.locales if not locales or locale in {BASE_LOCALE, *locales}]
    yield from _check_samples(bench.files, template)
    exact = list(_check_sources(bench, template, spoken))
    # Where the sources say what is wrong, that the line cannot be rendered says less.
    places = {told.place for told in exact if told.place.line}
    yield from (told for told in Trial(bench, template, spoken).run() if told.place not in places)
    yield from exact
    yield from words_rules.find_missing_locales(template, locales or _all_locales(bench.templates))


def _check_sources(bench: Workbench, template: Template, locales: Iterable[str]) -> Iterator[Told]:
    sandbox = Sandbox(bench.files, bench.brand.as_variables(), language=bench.templates.words.speak(BASE_LOCALE))
    for path in dict.fromkeys(path for locale in locales for path in template.parts(locale)):
        yield from sources.check_sources(sandbox, template, path)
        yield from sources.find_plain_links(bench.files, path)


def _all_locales(templates: Catalog) -> set[str]:
    return {locale for template in templates for locale in template.locales}


def _check_samples(files: Files, template: Template) -> Iterator[Told]:
    for fault in variables.find_faults(template.sample_variables, template.validator, template.variables_schema):
        steps = fault.pointer.replace("/variables", "sample_variables", 1).split("/")
        path = f"{template.name}/{MANIFEST}"
        advice = "Give a sample that the schema takes: previews and this check are made with it."
        yield Told(Place(path, _find_line(files, path, steps)), f"{'/'.join(steps)} {fault.message}", advice)


def _finished(files: Files, template: str, told: Iterable[Told]) -> Iterator[Finding]:
    for place, message, advice, is_error in told:
        yield Finding(
            template=template,
            file=files.tell(place.path),
            line=place.line,
            message=message,
            advice=advice,
            is_error=is_error,
        )


def _find_line(files: Files, path: str, keys: Iterable[str]) -> int | None:
    """The line of a TOML file on which the innermost of these keys stands, as far as they can be found."""
    file = files.find(path)
    lines = file.content.decode(errors="replace").splitlines() if file else []
    found = None
    for key in filter(None, keys):
        name = rf"[\"']?{re.escape(key)}[\"']?"
        pattern = re.compile(rf"^\s*{name}\s*[.=]|^\s*\[(?:.*\.)?{name}[.\]]")
        found = next((at for at in range(found or 0, len(lines)) if pattern.search(lines[at])), found)
    return None if found is None else found + 1
