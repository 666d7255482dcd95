"""Reads the statements of a migration and names each that the version before could not live with while it serves.

Knows PostgreSQL's SQL as Alembic writes it; a statement that it does not know is a complaint.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

# What opens and closes a transaction, looks, or notes the version.
_HARMLESS = re.compile(
    r"(BEGIN|COMMIT|SELECT|SHOW|SET lock_timeout|INSERT INTO alembic_version|"
    r"UPDATE alembic_version|CREATE TABLE alembic_version)\b"
)
_VERSION = re.compile(r"(?:INSERT INTO|UPDATE) alembic_version\b.*?'(\w+)'")
_NAME = r'(?:public\.)?"?(?P<table>\w+)"?'
_CONSTANT = r"(?:'[^']*'|-?[\d.]+|true|false|NULL)(?:::[\w ]+)?"
_COLUMN = re.compile(
    r'(?!.*\b(?:REFERENCES|UNIQUE|PRIMARY|CHECK|GENERATED)\b)"?\w+"? [\w ]+?(?:\([\d, ]+\))?'
    rf"(?P<default> DEFAULT {_CONSTANT})?(?P<needed> NOT NULL)?$"
)


class Complaint(StrEnum):
    """What is wrong; a contract excuses only the first three."""

    TAKEN = "takes away what the version before may use"
    REFUSED = "refuses what the version before may write"
    CHANGED = "changes what the version before may read"
    LOCKED = "keeps others from the table for longer than a moment"
    UNKNOWN = "is no statement that a migration may consist of"


EXCUSED = {Complaint.TAKEN, Complaint.REFUSED, Complaint.CHANGED}


@dataclass
class Revision:
    """What one migration did to a database."""

    number: str
    statements: list[str] = field(default_factory=list)

    def complaints(self, contract: str = "") -> list[tuple[str, Complaint]]:
        """Each statement that may not be, with the reason; `contract` says that nobody needs any more what goes."""
        made: set[str] = set()
        found = [(each, complaint) for each in self.statements for complaint in _judge(each, made)]
        return [(each, complaint) for each, complaint in found if not (contract and complaint in EXCUSED)]


def split(statements: Iterable[str]) -> list[Revision]:
    """The revisions that this run of migrations went through; each ends with its version being noted."""
    revisions, pending = [], []
    for statement in (" ".join(each.split()) for each in statements):
        if noted := _VERSION.match(statement):
            revisions.append(Revision(noted[1], pending))
            pending = []
        elif not _HARMLESS.match(statement):
            pending.append(statement)
    assert not pending, f"after the last revision: {pending}"
    return revisions


def _judge(statement: str, made: set[str]) -> Iterator[Complaint]:
    if ";" in statement.rstrip("; "):
        # One behind another would not be seen.
        yield Complaint.UNKNOWN
        return
    for pattern, judge in _RULES:
        if found := re.match(pattern, statement):
            if found.re.groupindex.get("table") and found["table"] in made:
                return
            yield from judge(found, made)
            return
    yield Complaint.UNKNOWN


def _note(found: re.Match[str], made: set[str]) -> Iterator[Complaint]:
    made.add(found["table"])
    yield from ()


def _index(found: re.Match[str], _made: set[str]) -> Iterator[Complaint]:
    if not found["concurrently"]:
        yield Complaint.LOCKED
    if found["unique"]:
        yield Complaint.REFUSED


def _lost_index(found: re.Match[str], _made: set[str]) -> Iterator[Complaint]:
    if not found["concurrently"]:
        yield Complaint.LOCKED
    # An upsert of the version before may name it.
    if found["index"].startswith(("uq_", "pk_")):
        yield Complaint.TAKEN


def _column(found: re.Match[str], _made: set[str]) -> Iterator[Complaint]:
    column = _COLUMN.match(found["rest"])
    if column is None:
        # Such as a default that differs for each row, which writes the whole table anew, or a reference.
        yield Complaint.LOCKED
    elif column["needed"] and (not column["default"] or column["default"].endswith("NULL")):
        yield Complaint.REFUSED


def _says(*complaints: Complaint) -> Callable[[re.Match[str], set[str]], Iterator[Complaint]]:
    return lambda _found, _made: iter(complaints)


_ALTER = rf"ALTER TABLE (?:ONLY )?{_NAME} "
_MAKE_INDEX = rf'CREATE (?P<unique>UNIQUE )?INDEX (?P<concurrently>CONCURRENTLY )?(?:IF NOT EXISTS )?"?\w+"? ON {_NAME}'
_RULES: list[tuple[str, Callable[[re.Match[str], set[str]], Iterator[Complaint]]]] = [
    (rf"CREATE TABLE (?:IF NOT EXISTS )?{_NAME} ", _note),
    (_MAKE_INDEX, _index),
    (r'DROP INDEX (?P<concurrently>CONCURRENTLY )?(?:IF EXISTS )?"?(?P<index>\w+)', _lost_index),
    (rf"{_ALTER}ADD COLUMN (?:IF NOT EXISTS )?(?P<rest>.+)", _column),
    (rf"{_ALTER}SET \(", _says()),
    (rf"{_ALTER}ADD (?:CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)", _says(Complaint.REFUSED, Complaint.LOCKED)),
    (rf"{_ALTER}DROP (?:COLUMN|CONSTRAINT)", _says(Complaint.TAKEN)),
    (rf"{_ALTER}RENAME", _says(Complaint.TAKEN)),
    (rf"{_ALTER}ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE", _says(Complaint.CHANGED, Complaint.LOCKED)),
    (rf"{_ALTER}ALTER (?:COLUMN )?\S+ SET NOT NULL", _says(Complaint.REFUSED, Complaint.LOCKED)),
    (rf"{_ALTER}ALTER (?:COLUMN )?\S+ DROP DEFAULT", _says(Complaint.REFUSED)),
    (rf"{_ALTER}ALTER (?:COLUMN )?\S+ (?:DROP NOT NULL|SET DEFAULT)", _says(Complaint.CHANGED)),
    (rf"DROP TABLE (?:IF EXISTS )?{_NAME}", _says(Complaint.TAKEN)),
    (rf"INSERT INTO {_NAME}", _says(Complaint.CHANGED)),
    (rf"(?:UPDATE|DELETE FROM) {_NAME}", _says(Complaint.CHANGED, Complaint.LOCKED)),
]
