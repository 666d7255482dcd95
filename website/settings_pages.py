"""The list of settings, from the code that reads them and the sentences of `.env.example`.

Knows how that file is written: sections, and in them sentences above the lines they are about. Refuses to guess:
a setting without a sentence ends the build.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from email_service.settings.variables import MailRoute, Settings, Variable

# Whose parts make one setting; `settings.load` joins them.
PARTS = {"SENDER_NAME"}
LINE = re.compile(r"# ([A-Z][A-Z0-9_]+)=(.*)")


@dataclass(frozen=True)
class Entry:
    """One sentence, or several, and the lines below it."""

    section: str
    sentence: str
    values: dict[str, str]


def markdown(root: Path) -> str:
    """A table for each section of `.env.example`, and one for the variables of a route."""
    entries = [entry for entry in read((root / ".env.example").read_text(encoding="utf-8")) if entry.values]
    known, parts = declared(), []
    for section in dict.fromkeys(entry.section for entry in entries):
        here = [entry for entry in entries if entry.section == section]
        if section.startswith("Ready blocks"):
            continue
        if section == "Several routes":
            parts += _routes(here)
            continue
        rows = [_row(entry, known) for entry in here]
        parts += [f"## {section}", "", "| setting | unless set | what it does |", "|---|---|---|", *rows, ""]
    told = {name for entry in entries for name in entry.values}
    if missing := set(known) - told:
        raise ValueError(f"`.env.example` has no sentence for {', '.join(sorted(missing))}.")
    return "\n".join(parts)


def read(text: str) -> Iterator[Entry]:
    """The entries of a file like `.env.example`."""
    section = ""
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        values = {found[1]: found[2] for line in lines if (found := LINE.fullmatch(line))}
        sentence = " ".join(line.removeprefix("# ") for line in lines if not LINE.fullmatch(line))
        if not values:
            section = sentence
        yield Entry(section, sentence, values)


def declared() -> dict[str, Variable]:
    """Every variable of the service by its name, aliases included."""
    found: dict[str, Variable] = {}
    for each in fields(Settings):
        if isinstance(variable := each.metadata.get("variable"), Variable):
            found[each.name.upper()] = variable
            if variable.alias:
                found[variable.alias] = variable
    return found


def _row(entry: Entry, known: dict[str, Variable]) -> str:
    names = [name for name in entry.values if name in known or name in PARTS]
    if unknown := set(entry.values) - set(names):
        raise ValueError(f"`.env.example` has {', '.join(sorted(unknown))}, which nothing reads.")
    own = "<br>".join(f"`{name}`{{ #{name.lower()} }}" for name in names)
    values = "<br>".join(f"`{entry.values[name]}`" if entry.values[name] else "unset" for name in names)
    secret = any(name in known and known[name].show is not repr for name in names)
    return f"| {own} | {values} | {_cell(entry.sentence)}{' *Never shown in logs.*' if secret else ''} |"


def _routes(entries: Iterable[Entry]) -> list[str]:
    """The variables of one route, with the sentences that stand above them all."""
    [entry] = entries
    declared_here = [f"_{each.name.upper()}" for each in fields(MailRoute) if each.metadata.get("variable")]
    shown = {name.removeprefix("MAIL_ROUTE_SES"): value for name, value in entry.values.items() if "_SES_" in name}
    if set(shown) != set(declared_here):
        raise ValueError(
            f"`.env.example` shows {sorted(shown)} of a route, and the code reads {sorted(declared_here)}."
        )
    rows = [f"| `MAIL_ROUTE_<NAME>{name}` | {f'`{shown[name]}`' if shown[name] else ''} |" for name in declared_here]
    return ["## Several routes", "", _cell(entry.sentence), "", "| setting | such as |", "|---|---|", *rows, ""]


def _cell(sentence: str) -> str:
    """The sentence as Markdown: names, values and paths as code."""
    marked = re.sub(r"(?<![`\w/.])(_?[A-Z][A-Z0-9]*_[A-Z0-9_]+(?:=[\w/,.]+)?)", r"`\1`", sentence)
    return marked.replace("|", "\\|").replace("*.", r"\*.").replace("; * ", r"; \* ").replace(",*=", r",\*=")
