"""The files of all templates in one view: the built-in ones, and over them those of a product's own folder.

Reads every file once, so that a version and the mail that is written with it never tell of different bytes. Knows paths
and bytes; knows neither manifests nor Jinja.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from email_service.kernel.errors import SettingsError

BUILTIN = "builtin"  # what a path begins with that reaches a built-in file, also one that is replaced
WORDS = "_words"  # whose files are merged, where all others are replaced


class Origin(StrEnum):
    """Whose a template is."""

    BUILT_IN = "built-in"
    CHANGED = "changed"  # built in, with files of the product's own over it
    OWN = "own"


@dataclass(frozen=True, slots=True)
class File:
    """One file as it was when it was read."""

    place: Path
    content: bytes = field(repr=False)
    is_own: bool = False

    @property
    def text(self) -> str:
        """Raises UnicodeDecodeError for what is not UTF-8."""
        # Line ends as Python's text files have them, whichever editor wrote the file.
        return self.content.decode().replace("\r\n", "\n").replace("\r", "\n")


class Files:
    """Every file by its path, such as `welcome/body.html`; `own` is the folder whose files come first."""

    def __init__(self, folder: Path, own: Path | None = None) -> None:
        builtin = dict(_read(folder))
        self._own = dict(_read(own, is_own=True)) if own else {}
        self._own_folder = _shorten(own) if own else None
        self._view = builtin | self._own
        self._reachable = self._view | {f"{BUILTIN}/{path}": file for path, file in builtin.items()}
        self._paths = {str(file.place): path for path, file in reversed(self._reachable.items())}

    def find(self, path: str) -> File | None:
        """The file of this path, or the built-in one below `builtin/`."""
        return self._reachable.get(path)

    def text(self, path: str) -> str | None:
        """What the file says, if there is one. Raises UnicodeDecodeError."""
        file = self.find(path)
        return file.text if file else None

    def layers(self, path: str) -> list[File]:
        """The built-in file and the product's own, whichever there are, in this order."""
        return [file for file in (self.find(f"{BUILTIN}/{path}"), self._own.get(path)) if file]

    def below(self, folder: str) -> list[str]:
        """The paths of all files in this folder and those inside it."""
        return sorted(path for path in self._view if path.startswith(f"{folder}/"))

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders in this one that hold anything."""
        start = f"{folder}/" if folder else ""
        rests = (path.removeprefix(start) for path in self._view if path.startswith(start))
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def paths(self) -> list[str]:
        """Every path; a built-in file that is replaced has one that begins with `builtin/`."""
        hidden = (f"{BUILTIN}/{path}" for path in self._own)
        return sorted([*self._view, *(path for path in hidden if path in self._reachable)])

    def path_of(self, place: str) -> str | None:
        """The path of the file at this place of the disk, which is what Python knows of a compiled template."""
        return self._paths.get(place)

    def origin(self, template: str) -> Origin:
        """Whose template of this name it is."""
        if not any(path.startswith(f"{template}/") for path in self._own):
            return Origin.BUILT_IN
        is_builtin = any(path.startswith(f"{BUILTIN}/{template}/") for path in self._reachable)
        return Origin.CHANGED if is_builtin else Origin.OWN

    def tell(self, path: str) -> str:
        """Where whoever has to mend it finds it: in the product's own folder unless all of it is built in.

        The path may go on inside of a file, as in `welcome/manifest.toml/lane`.
        """
        top = path.partition("/")[0]
        if top not in {each.partition("/")[0] for each in self._own}:
            return path
        steps = [path, *(str(each) for each in PurePosixPath(path).parents)]
        file = next((file for step in steps if (file := self.find(step))), None)
        # Words are merged: where an own sentence lacks a translation, that has to stand in an own file too.
        is_builtin = file is not None and not file.is_own and top != WORDS
        return path if is_builtin else f"{self._own_folder}/{path}"


def _read(folder: Path, *, is_own: bool = False) -> Iterator[tuple[str, File]]:
    """What stands in a folder; names with a dot before them belong to editors, version control and mounts."""
    if not folder.is_dir():
        raise SettingsError(f"The templates folder {folder} does not exist.")
    for place in sorted(folder.rglob("*")):
        path = place.relative_to(folder)
        if not any(part.startswith(".") for part in path.parts) and place.is_file():
            yield path.as_posix(), File(place, _content(place), is_own)


def _content(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise SettingsError(f"{place} cannot be read ({error.strerror}); make it readable for the service.") from error


def _shorten(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
