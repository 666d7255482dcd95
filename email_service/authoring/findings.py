"""What a check says of a template: what is wrong, where, and what to change. Finds nothing by itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """A line of a file, by its path from the templates folder; without a line it is the file as a whole."""

    path: str = ""
    line: int | None = None


class Told(NamedTuple):
    """What a rule says."""

    place: Place
    message: str  # what is wrong
    advice: str  # what to change
    is_error: bool = True  # it breaks mail for somebody; anything else is advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to change."""

    template: str
    file: str  # where the author finds it
    line: int | None = None
    message: str
    advice: str
    is_error: bool = True

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {'error' if self.is_error else 'warning'}: {self.message}. {self.advice}"


def as_json(findings: Sequence[Finding]) -> str:
    """All findings as one JSON document."""
    counts = {"errors": count_errors(findings), "warnings": len(findings) - count_errors(findings)}
    return json.dumps({**counts, "findings": [asdict(each) for each in findings]}, indent=2, ensure_ascii=False)


def count_errors(findings: Sequence[Finding]) -> int:
    """How many of them are errors."""
    return sum(each.is_error for each in findings)
