"""Writes this machine's pip settings as one file, and prints what has to be mounted so that they work inside a build.

Knows no setting by its meaning; reads them from pip itself, so that the environment counts too.
"""

# ruff: noqa: T201 - a script answers with what it prints: the options

import ast
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent.parent
# What says where packages go or how pip talks, which is the Dockerfile's to say.
NOT_OURS = {
    "cache-dir",
    "disable-pip-version-check",
    "log",
    "no-cache-dir",
    "prefix",
    "require-virtualenv",
    "target",
    "user",
}


def read() -> dict[str, str]:
    """The settings by name; those of the environment win, as in pip."""
    pythons = (ROOT / ".venv/bin/python", Path(sys.executable))
    for python in (str(path) for path in pythons if path.exists()):
        listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return parse(listed.stdout)
    return {}


def parse(text: str) -> dict[str, str]:
    lines = sorted((line for line in text.splitlines() if "=" in line), key=lambda line: line.startswith(":env:"))
    names = ((line.partition("=")[0].rpartition(".")[2], line.partition("=")[2]) for line in lines)
    return {name: str(ast.literal_eval(value)) for name, value in names if name not in NOT_OURS}


def folders(settings: dict[str, str]) -> set[str]:
    """The paths on this machine that the settings name."""
    found = set()
    for word in " ".join(settings.values()).split():
        path = Path(unquote(urlsplit(word).path)) if word.startswith("file:") else Path(word)
        # The pages of an index on a disk link to files beside them.
        path = path.parent if path.name == "simple" else path
        if path.is_absolute() and path.exists():
            found.add(str(path))
    return found


def main() -> None:
    settings = read()
    target = Path(sys.argv[1])
    target.touch(mode=0o600)
    target.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items()), ""]))
    for path in sorted(folders(settings)):
        print(f"--volume={path}:{path}:ro")


main()
