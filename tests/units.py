"""Reads systemd's units as systemd would start them: with their drop-ins, specifiers, settings and secrets.

Knows the format (systemd.syntax(7)) as far as our files use it, and nothing of the service.
"""

import os
import re
import shlex
import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import servers

from tests import missing

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def find_program() -> str:
    """`systemd-analyze`; without it the test ends here."""
    return shutil.which("systemd-analyze") or missing.give_up(servers.SYSTEMD)


@dataclass(frozen=True)
class Unit:
    """One unit with what its drop-ins add, such as `email-service-worker@token.service`."""

    name: str
    options: Mapping[str, list[str]]  # by section and name, such as `Service.ExecStart`; the last value counts

    @property
    def instance(self) -> str:
        return self.name.partition("@")[2].removesuffix(".service")

    def one(self, option: str) -> str:
        """The value of an option that has one."""
        return self.options[option][-1]

    def words(self, option: str) -> set[str]:
        """What a list names, over all its lines."""
        return {word for line in self.options.get(option, ()) for word in line.split()}

    def credentials(self) -> dict[str, str]:
        """The paths of secret files, by the names that the process finds them under."""
        return dict(each.split(":", 1) for each in self.options["Service.LoadCredential"])

    def environment(self, settings: str, credentials: Path) -> dict[str, str]:
        """What the process gets: of the unit, and then of its file of settings, whose text is given."""
        assignments = [word for line in self.options["Service.Environment"] for word in shlex.split(line)]
        assignments += [shlex.split(line)[0] for line in settings.splitlines() if line and not line.startswith("#")]
        pairs = [self._expand(each, credentials).split("=", 1) for each in assignments]
        return dict(pairs)

    def command(self, environment: Mapping[str, str]) -> list[str]:
        """The words of ExecStart."""
        words = shlex.split(self.one("Service.ExecStart"))
        return [_VARIABLE.sub(lambda found: environment[found[1]], word) for word in words]

    def _expand(self, text: str, credentials: Path) -> str:
        known = {"%i": self.instance, "%d": str(credentials)}
        return re.sub(r"%.", lambda found: known[found[0]], text)


def read(folder: Path, name: str) -> Unit:
    """A unit of this folder; an instance is made from its template."""
    template = re.sub(r"@[^.]*", "@", name)
    options: dict[str, list[str]] = defaultdict(list)
    prefix = name.partition("@")[0].removesuffix(".service")
    # There are folders for all units whose names begin alike, for a template, and for one unit.
    begun = ["-".join(prefix.split("-")[:count]) + "-.service" for count in range(1, prefix.count("-") + 1)]
    drop_ins = [path for each in {*begun, template, name} for path in (folder / f"{each}.d").glob("*.conf")]
    _add(folder / template, options)
    # Whichever folder a file is in, its name says when it is read.
    for path in sorted(drop_ins, key=lambda path: path.name):
        _add(path, options)
    return Unit(name, dict(options))


def _add(file: Path, options: dict[str, list[str]]) -> None:
    section = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            option, _, value = line.partition("=")
            options[f"{section}.{option}"].append(value)


def install(source: Path, target: Path, program: Path) -> Path:
    """A copy in which the units start this program, so that systemd finds one."""
    shutil.copytree(source, target)
    for path in target.rglob("*.service"):
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace("/opt/email-service/bin/email-service", os.fspath(program))
            path.write_text(text, encoding="utf-8")
    return target
