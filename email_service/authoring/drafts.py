"""A first draft of a template: sound files with comments that teach, for an author to change.

Writes into a product's own folder and over nothing that is there. The files it copies are in `draft/`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from email_service.kernel.errors import InvalidInputError
from email_service.kernel.locales import BASE_LOCALE
from email_service.rendering.catalog import MANIFEST, PARTS, is_name
from email_service.rendering.files import WORDS

_MODELS = Path(__file__).parent / "draft"
_NAME = "order-shipped"  # what the drafted template is called in the models


def write(folder: Path, name: str, built_in: tuple[str, ...] = ()) -> list[Path]:
    """Make the template in the folder, and say which files were written. Raises InvalidInputError."""
    home, words = folder / name, folder / WORDS / f"{BASE_LOCALE}.toml"
    _refuse(home, words, name, built_in)
    home.mkdir(parents=True)
    words.parent.mkdir(exist_ok=True)
    written = []
    for filename in (MANIFEST, *PARTS):
        path = home / filename
        path.write_text(_read(filename, name), encoding="utf-8")
        written.append(path)
    # Another template's words may be there already; a table can stand anywhere in a file of TOML.
    before = words.read_text(encoding="utf-8").rstrip("\n") + "\n\n" if words.is_file() else ""
    words.write_text(before + _read("words.toml", name), encoding="utf-8")
    return [*written, words]


def _refuse(home: Path, words: Path, name: str, built_in: tuple[str, ...]) -> None:
    for message in _find_obstacles(home, words, name, built_in):
        raise InvalidInputError(message)


def _find_obstacles(home: Path, words: Path, name: str, built_in: tuple[str, ...]) -> Iterator[str]:
    if not is_name(name):
        yield f"{name!r} is no name of a template: use lower-case letters, digits and single hyphens, as in {_NAME}."
    if name in built_in:
        yield (
            f"{name!r} is built in. To change it, make {home} with only the file that you change, "
            f'such as a body.html that begins with {{% extends "builtin/{name}/body.html" %}}.'
        )
    if home.exists():
        yield f"{home} exists already and is left as it is: take another name, or remove it first."
    if words.is_file() and re.search(rf"^\s*\[{name}\]", words.read_text(encoding="utf-8"), re.MULTILINE):
        yield f"{words} has a table [{name}] already: take another name, or remove the table first."


def _read(filename: str, name: str) -> str:
    return (_MODELS / filename).read_text(encoding="utf-8").replace(_NAME, name)
