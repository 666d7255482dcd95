"""Tries one template out: renders it in every language with many variables, and judges what comes of it.

Knows the rules' order and which variables they are tried with; a template that cannot be rendered is judged no further.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from email_service.authoring import page_rules, samples, wording
from email_service.authoring.findings import Place, Told
from email_service.authoring.marking import MarkingSandbox
from email_service.kernel.errors import RenderingError
from email_service.rendering import catalog, variables
from email_service.rendering.catalog import PARTS, STYLE, Catalog, Template
from email_service.rendering.files import Files
from email_service.rendering.renderer import Rendered, Renderer
from email_service.rendering.variables import Brand

CLIP_BYTES = 102 * 1024  # what Gmail shows of a page before it cuts it

_FAILURE = re.compile(r"cannot be rendered: ([\w./-]+)(?:, line (\d+))?: (.*)\.$", re.DOTALL)
_SUBJECT, _HTML, _TEXT = PARTS


@dataclass(frozen=True, slots=True)
class Workbench:
    """What every trial works with."""

    files: Files
    templates: Catalog
    brand: Brand
    renderer: Renderer

    @classmethod
    def load(cls, files: Files, brand: Brand) -> "Workbench":
        """Raises SettingsError for templates that cannot be used."""
        templates = catalog.load(files)
        return cls(files, templates, brand, Renderer(files, templates, brand))


class Trial:
    """One template in the locales that it is tried in."""

    def __init__(self, bench: Workbench, template: Template, locales: Sequence[str]) -> None:
        self._bench = bench
        self._template = template
        self._locales = locales
        self._cases = samples.find_cases(template)
        self._link = samples.find_link(template)

    def run(self) -> Iterator[Told]:
        """What is wrong with the mail that it writes."""
        failures = list(self._find_failures())
        yield from failures
        if failures:
            return
        for locale in self._locales:
            yield from self._check_words(locale)
        # Locales without files of their own share the page of the base locale.
        for path, locale in {self._template.part(each, _HTML): each for each in reversed(self._locales)}.items():
            yield from self._check_page(path, locale)

    def _render(self, case: dict[str, object], locale: str) -> Rendered:
        return self._bench.renderer.render(self._template.name, case, locale, self._link)

    def _find_failures(self) -> Iterator[Told]:
        """Each failure once, whatever the variables and the languages are that it happens with."""
        seen: set[tuple[Place, str]] = set()
        for locale in self._locales:
            is_first = locale == self._locales[0]
            cases = self._cases | (dict(samples.leave_out_each(self._template)) if is_first else {})
            for case, values in cases.items():
                try:
                    self._render(values, locale)
                except RenderingError as error:
                    place, reason = self._read_failure(error)
                    if (place, reason) not in seen:
                        seen.add((place, reason))
                        message = f"cannot be rendered in {locale} with the variables {case!r}: {reason}"
                        yield Told(place, message, _advise(reason))

    def _read_failure(self, error: RenderingError) -> tuple[Place, str]:
        found = _FAILURE.search(error.detail)
        if found is None:
            return Place(self._template.name), error.detail
        return Place(found[1], int(found[2]) if found[2] else None), found[3]

    def _check_words(self, locale: str) -> Iterator[Told]:
        rendered = self._render(self._template.sample_variables, locale)
        subject, _, text = map(Place, self._template.parts(locale))
        yield from wording.check_subject(subject, rendered.subject)
        yield from wording.find_spam(subject, rendered.subject)
        yield from wording.find_spam(text, rendered.text)
        if not rendered.text.strip():
            yield Told(text, "the text part is empty", "Say in it what the page says; some readers see nothing else.")
        for case, values in self._cases.items():
            size = len(self._render(values, locale).html.encode())
            if size > CLIP_BYTES:
                message = f"the page has {size // 1024} kB with the variables {case!r}, and Gmail cuts it after 102 kB"
                advice = "Say less, bound lists with maxItems, or have fewer styles in the tags themselves."
                # Samples are what readers get; the longest that the schema lets in is rare.
                yield Told(Place(self._template.part(locale, _HTML)), message, advice, case != samples.LONGEST)

    def _check_page(self, path: str, locale: str) -> Iterator[Told]:
        bench = self._bench
        language = bench.templates.words.speak(locale)
        sandbox = MarkingSandbox(bench.files, bench.brand.as_variables(), language=language)
        for values in self._cases.values():
            _, context = variables.harden(values, self._template.variables_schema)
            subject = variables.unlink(self._render(values, locale).subject, {})
            context |= {"subject": subject, "unsubscribe_url": self._link}
            html = sandbox.get_template(path).render(context)
            for told in page_rules.check_page(html, bench.files.text(STYLE)):
                yield told if told.place.path else told._replace(place=Place(path))


def _advise(reason: str) -> str:
    if "is undefined" in reason:
        return "Ask {% if ... is defined %} before it, or let the manifest require the variable."
    if "more than" in reason or "comes to" in reason:
        return "Bound the variables that it writes with maxLength and maxItems in the manifest."
    return "Change it there and run this check again."
