"""Of which mail a reader can have less: the names of categories, and which suppressions stop mail of one. Pure rules.

Which template belongs to which category is the catalog's to know.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

EVERYTHING: Final = "*"  # a suppression of this stops all mail to the address
OPTIONAL: Final = "optional"  # and of this all that a reader can unsubscribe from, also what is yet to be written
NAME_LENGTH: Final = 50

_ESSENTIAL = frozenset({"security"})
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class Classified(Protocol):
    """What is asked of a template."""

    @property
    def name(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def can_unsubscribe(self) -> bool: ...


def find_stopping(category: str | None) -> tuple[str, ...]:
    """Suppressions of which categories stop mail of this one; None is mail that nobody can unsubscribe from."""
    return (EVERYTHING,) if category is None else (EVERYTHING, OPTIONAL, category)


def find_mistakes(templates: Iterable[Classified]) -> Iterator[tuple[str, str]]:
    """Names of templates, each with what is wrong with what it says of unsubscribing.

    A reader who unsubscribes goes without the whole category, so nothing in it may be essential.
    """
    first_of: dict[str, Classified] = {}
    for template in templates:
        first = first_of.setdefault(template.category, template)
        if template.can_unsubscribe != first.can_unsubscribe:
            yield template.name, f"has to be as in {first.name}, which is of the same category {template.category}"
        if template.can_unsubscribe and (template.lane == "token" or template.category in _ESSENTIAL):
            yield template.name, "cannot be true for token mail and for the category security"
        if template.can_unsubscribe and not _is_name(template.category):
            sentence = f"needs a category of lower-case letters, digits and hyphens, other than {OPTIONAL}"
            yield template.name, f"{sentence}, of at most {NAME_LENGTH} characters"


def _is_name(category: str) -> bool:
    return category != OPTIONAL and len(category) <= NAME_LENGTH and _NAME.fullmatch(category) is not None
