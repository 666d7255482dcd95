"""Reads the html of a mail strictly: every element that opens is closed, in order, and knows the file it came from.

Knows html as a tree of tags and words; judges nothing but whether it is well-formed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from email_service.authoring.findings import Place
from email_service.authoring.marking import MARK

# fmt: off
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"
})
# fmt: on


@dataclass(slots=True, eq=False)
class Element:
    """One element with its words, those inside its children aside."""

    tag: str
    attributes: dict[str, str]
    place: Place
    parent: "Element | None"
    words: list[str] = field(default_factory=list)
    children: list["Element"] = field(default_factory=list)

    @property
    def lineage(self) -> Iterator["Element"]:
        """The element, and those around it from the inside out."""
        current: Element | None = self
        while current is not None:
            yield current
            current = current.parent

    def text(self) -> str:
        """All words inside, of children too, on one line."""
        return " ".join(" ".join([*self.words, *(each.text() for each in self.children)]).split())


class Page(HTMLParser):
    """One page that was read; `faults` says where it is not well-formed, and how."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.faults: list[tuple[Place, str]] = []
        self._open: list[Element] = []
        self._last = Place()
        self.feed(html)
        self.close()
        for each in self._open:
            self.faults.append((each.place, f"<{each.tag}> is never closed"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in reversed(attrs)}
        path, _, line = attributes.pop(MARK, "").rpartition(":")
        place = Place(path, int(line)) if path else self._last
        parent = self._open[-1] if self._open else None
        element = Element(tag, attributes, place, parent)
        self._last = place
        self.elements.append(element)
        if parent is not None:
            parent.children.append(element)
        if tag not in _VOID:
            self._open.append(element)
        # Jinja wrote the mark, so a second one is no mistake of the author's.
        names = [name for name, _ in attrs if name != MARK]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.faults.append((place, f"<{tag}> has the attribute {name} twice"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.faults.append((self._open.pop().place, f"<{tag} /> is read as a <{tag}> that stays open"))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            self.faults.append((self._last, f"</{tag}> closes what needs no end"))
            return
        at = next((at for at in range(len(self._open) - 1, -1, -1) if self._open[at].tag == tag), None)
        if at is None:
            self.faults.append((self._last, f"</{tag}> closes nothing"))
            return
        for each in self._open[at + 1 :]:
            self.faults.append((each.place, f"<{each.tag}> is not closed before the </{tag}> around it"))
        del self._open[at:]

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].words.append(data)
