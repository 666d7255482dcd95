"""What `email-service template check` finds wrong with a folder of templates before anybody receives one of them.

Only reads and renders; refuses to judge style.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.meta import find_referenced_templates, find_undeclared_variables

from email_service.kernel.errors import RenderingError, SettingsError
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering import catalog, variables
from email_service.rendering.catalog import MANIFEST, PARTS, Catalog, Template
from email_service.rendering.renderer import Renderer
from email_service.rendering.sandbox import Sandbox
from email_service.rendering.variables import Brand
from email_service.rendering.words import SHARED, WORDS

_SAID = re.compile(r"""\bsay\(\s*["']([a-z_]+)["']""")
_PLAIN_LINK = re.compile(r"\bhttp://[^\s\"'<>]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to change in one file of one template."""

    template: str
    file: str  # below the templates folder
    message: str


def check(folder: Path, brand: Brand) -> list[Finding]:
    """Everything that is wrong, or an empty list."""
    try:
        templates = catalog.load(folder)
    except SettingsError as error:
        places = [(fault.pointer[1:], fault.message) for fault in error.faults] or [("", error.detail)]
        return [Finding(place.partition("/")[0], place, message) for place, message in places]
    renderer = Renderer(folder, templates, brand)
    sandbox = Sandbox(folder, language=templates.words.speak(BASE_LOCALE))
    found: list[Finding] = []
    for template in templates:
        found += _sample_findings(template)
        found += _rendering_findings(renderer, template)
        # Locales without files of their own share those of the base locale.
        for path in dict.fromkeys(path for locale in template.locales for path in template.parts(locale)):
            found += _source_findings(folder, sandbox, template, path)
    found += _unsaid_findings(folder, templates)
    return list(dict.fromkeys(found))


def _sample_findings(template: Template) -> Iterator[Finding]:
    for fault in variables.find_faults(template.sample_variables, template.validator, template.variables_schema):
        place = fault.pointer.replace("/variables", "sample_variables", 1)
        yield Finding(template.name, f"{template.name}/{MANIFEST}", f"{place} {fault.message}")


def _rendering_findings(renderer: Renderer, template: Template) -> Iterator[Finding]:
    sample = template.sample_variables
    required = {name: sample[name] for name in template.variables_schema["required"] if name in sample}
    for locale in template.locales:
        for values in (sample, required):
            try:
                rendered = renderer.render(template.name, values, locale)
            except RenderingError as error:
                yield Finding(template.name, _file_in(error, template), error.detail)
                continue
            if not rendered.text.strip():
                yield Finding(template.name, template.part(locale, "body.txt"), "the text part is empty")


def _file_in(error: RenderingError, template: Template) -> str:
    place = re.search(r": ([\w./-]+)(, line \d+)?: ", error.detail)
    return place[1] if place else template.name


def _source_findings(folder: Path, sandbox: Sandbox, template: Template, path: str) -> Iterator[Finding]:
    for link in _PLAIN_LINK.findall((folder / path).read_text(encoding="utf-8", errors="replace")):
        yield Finding(template.name, path, f"{link} is not an https link")
    given = {"unsubscribe_url", *template.variables_schema["properties"], *sandbox.globals}
    if not path.endswith(PARTS[0]):
        given.add("subject")
    try:
        used = _follow(sandbox, path, given, set())
    except TemplateError:
        return  # rendering it has said what is wrong
    for name in sorted(used - given):
        yield Finding(template.name, path, f"uses {name!r}, which is not in the manifest's variables")


def _unsaid_findings(folder: Path, templates: Catalog) -> Iterator[Finding]:
    """Sentences that no file says; whoever translates them would do so for nobody."""
    files = (path for path in folder.rglob("*") if path.suffix in {".html", ".txt"})
    sources = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
    for table, entries in templates.words.speak(BASE_LOCALE).tables.items():
        home = folder if table == SHARED else folder / table
        said = {entry for path, source in sources.items() if home in path.parents for entry in _SAID.findall(source)}
        for entry in sorted(entries.keys() - said):
            yield Finding(table, f"{WORDS}/{BASE_LOCALE}.toml/{table}/{entry}", "is said by no template")


def _follow(sandbox: Sandbox, path: str | None, given: set[str], seen: set[str]) -> set[str]:
    """The names that a file and all it takes in use; those that they set themselves are added to `given`."""
    if path is None or path in seen or sandbox.loader is None:  # a computed path is left to the rendering
        return set()
    seen.add(path)
    tree: Any = sandbox.parse(sandbox.loader.get_source(sandbox, path)[0], path)
    used = find_undeclared_variables(tree)
    given |= {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    for node in tree.find_all(nodes.FromImport):
        given |= {name if isinstance(name, str) else name[1] for name in node.names}
    return used.union(*(_follow(sandbox, each, given, seen) for each in find_referenced_templates(tree)))
