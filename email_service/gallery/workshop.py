"""The templates as they are on the disk right now: read again whenever a file was saved, checked when somebody asks.

Knows files, renderings and findings; knows no HTTP. Any thread may ask.
"""

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from email_service.authoring import checks, page_rules, samples
from email_service.authoring.checks import Scope
from email_service.authoring.findings import Finding
from email_service.authoring.themes import Theme, show
from email_service.authoring.trials import Workbench
from email_service.kernel.errors import InvalidInputError, NotFoundError, SettingsError
from email_service.rendering.files import Files
from email_service.rendering.renderer import Rendered
from email_service.rendering.variables import Brand

LOOK_SECONDS = 0.25
_FRAMES_KEPT = 32  # pages that a browser may still be asking for


@dataclass(frozen=True, slots=True)
class Shelf:
    """What was found at one time: templates that can be used, or the reasons why they cannot."""

    state: str  # changes with every saved file
    bench: Workbench | None
    problems: list[Finding]
    findings: dict[str, list[Finding]] = field(default_factory=dict)  # by template, once they were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What somebody wants to look at."""

    template: str
    locale: str | None
    theme: Theme
    case: str  # of samples.find_cases
    variables: Mapping[str, Any] | None = None  # those of the reader's own, instead of the case's


class Workshop:
    """Templates that are being written: `find` reads the files that stand in these folders."""

    def __init__(self, find: Callable[[], Files], brand: Brand, folders: Iterable[Path]) -> None:
        self._find = find
        self._brand = brand
        self._folders = list(folders)
        self._lock = threading.Lock()
        self._shelf: Shelf | None = None
        self._frames: OrderedDict[str, str] = OrderedDict()

    def state(self) -> str:
        """The same until a file is saved, added or removed."""
        digest = hashlib.sha256()
        for folder in self._folders:
            for path in sorted(folder.rglob("*")):
                try:
                    found = path.stat()
                except OSError:  # an editor that replaces a file takes it away for a moment
                    continue
                digest.update(f"{path}\0{found.st_mtime_ns}\0{found.st_size}\0".encode())
        return digest.hexdigest()[:16]

    def shelf(self) -> Shelf:
        """The templates as they are saved."""
        state = self.state()
        with self._lock:
            if self._shelf is None or self._shelf.state != state:
                self._shelf = self._read(state)
            return self._shelf

    def findings(self, name: str) -> list[Finding]:
        """What the check says of one template."""
        shelf = self.shelf()
        bench = _usable(shelf)
        if name not in shelf.findings:
            shelf.findings[name] = checks.check_loaded(bench, Scope(names=(bench.templates.get(name).name,)))
        return shelf.findings[name]

    def variables(self, view: View) -> dict[str, Any]:
        """What the view is rendered with. Raises InvalidInputError when the template does not take it."""
        template = _usable(self.shelf()).templates.get(view.template)
        if view.variables is not None:
            template.check_variables(view.variables)
            return dict(view.variables)
        cases = samples.find_cases(template)
        if view.case not in cases:
            raise InvalidInputError(f"Variables are one of {', '.join(cases)}, or your own.")
        return cases[view.case]

    def lane(self, name: str) -> str:
        """That of the template."""
        return _usable(self.shelf()).templates.get(name).lane

    def render(self, view: View) -> Rendered:
        """The mail of a view."""
        bench = _usable(self.shelf())
        link = samples.find_link(bench.templates.get(view.template))
        return bench.renderer.render(view.template, self.variables(view), view.locale, link)

    def keep(self, html: str, theme: Theme) -> str:
        """Keep a page for the frame that will ask for it, in this theme; the name that it is kept under."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._frames[name] = show(html, theme)
            while len(self._frames) > _FRAMES_KEPT:
                self._frames.popitem(last=False)
        return name

    def frame(self, name: str) -> str:
        """A page that was kept. Raises NotFoundError."""
        with self._lock:
            if name not in self._frames:
                raise NotFoundError("This preview is gone; choose the template again.")
            return self._frames[name]

    def _read(self, state: str) -> Shelf:
        try:
            files = self._find()
        except SettingsError as error:
            advice = "Put the folder back; the gallery looks for it."
            return Shelf(state, None, [Finding(template="", file="", message=error.detail.rstrip("."), advice=advice)])
        try:
            return Shelf(state, Workbench.load(files, self._brand), [])
        except SettingsError as error:
            return Shelf(state, None, checks.find_misloaded(files, error))


def describe(rendered: Rendered) -> dict[str, Any]:
    """What an inbox shows of a mail, and how large it is."""
    return {
        "subject": rendered.subject,
        "preheader": page_rules.find_preheader(rendered.html),
        "html": rendered.html,
        "text": rendered.text,
        "version": rendered.version,
        "locale": rendered.locale,
        "html_bytes": len(rendered.html.encode()),
        "text_bytes": len(rendered.text.encode()),
    }


def _usable(shelf: Shelf) -> Workbench:
    if shelf.bench is None:
        raise SettingsError("The templates cannot be loaded; see what has to be changed first.")
    return shelf.bench
