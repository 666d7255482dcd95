"""A reader at a desk: runs the blocks of a documentation page one after the other, as somebody who pastes them would.

Knows what a block of each language is for. Refuses to skip: a block that it cannot run is either marked in the page,
with the reason, or fails.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import documents
import yaml
from documents import Block

from email_service.settings import load
from tests.journeys.processes import COMMAND, House, Web
from tests.stand_ins import LOCAL, ROOT

PROGRAM = Path(__file__).with_name("stand_ins.py")
PLACEHOLDER = re.compile(r"(?m)^export [A-Z]+=\S*\.\.\.\n")
MAIL = {"MAIL_SERVER": "smtp.acme.example", "MAIL_DEFAULT_SENDER": "mail@acme.example"}


def _no_database(statement: str) -> None:
    raise AssertionError(f"This page has no database for {statement}")


@dataclass
class Desk:
    """A folder with the commands of the page on its PATH; the service of `house` starts when it is first needed."""

    folder: Path
    house: House
    run_sql: Callable[[str], None] = _no_database
    tools: Path = Path("/usr/bin")  # where pg_dump and its siblings are
    starts_service: bool = True
    patience_seconds: float = 60
    done: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    web: Web | None = None

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir()
        for folder in ("srv/var", "secrets"):
            (self.folder / folder).mkdir(parents=True)
        self._put("email-service", f'exec {shlex.quote(COMMAND)} "$@"')
        for name in ("python", "python3"):
            self._put(name, f'exec {shlex.quote(sys.executable)} "$@"')
        for name in ("curl", "docker", "make"):
            self._put(name, f'exec {shlex.quote(sys.executable)} {shlex.quote(str(PROGRAM))} {name} "$@"')

    def work_through(self, blocks: list[Block]) -> None:
        """Every block of a page, in order."""
        for block in blocks:
            if block.reason:
                self.left_out.append(f"a block of {block.language}: {block.reason}")
            else:
                getattr(self, f"_{block.language}")(block)
                self.done[block.language] += 1
        noted = self.folder / "left_out"
        if noted.exists():
            commands = Counter(" ".join(line.split()[:3]) for line in noted.read_text().splitlines())
            self.left_out += [
                f"{command}: needs a container engine; `make docker-test` runs it" for command in commands
            ]

    def environment(self) -> dict[str, str]:
        web = self.web
        return {
            **self.house._environment({}),
            "PATH": f"{self.folder / 'bin'}:{os.defpath}",
            "BROWSER": "true",
            "DESK": str(self.folder),
            "DESK_CALLS": str(self.folder / "calls"),
            "DESK_LEFT_OUT": str(self.folder / "left_out"),
            "DESK_POSTGRES": str(self.tools),
            **({"DESK_URL": web.url, "KEY": web.api_key, "EMAIL_API_KEY": web.api_key} if web else {}),
        }

    def calls(self) -> list[dict[str, Any]]:
        """What curl was answered."""
        noted = self.folder / "calls"
        return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []

    def _sh(self, block: Block) -> None:
        script = PLACEHOLDER.sub("", block.content)
        if self.starts_service and re.search(rf"email-service|python3|{LOCAL}", script):
            self._start()
        before = len(self.calls())
        identifier = f"export ID={self._message_id(script)}\n" if "$ID" in script else ""
        state = "[ ! -e state ] || . ./state\n"
        self._run(["sh", "-eu", "-c", f'{state}{identifier}{script}\ncd "$DESK"; export -p > state'], block)
        kept = self.folder / "state"
        kept.write_text(_without_the_desk(kept.read_text()))
        self._check_statuses(block, [call["status"] for call in self.calls()[before:]])

    def _python(self, block: Block) -> None:
        """A file with a title is run by the page itself."""
        self._start()
        assert self.web
        text = block.content.replace(LOCAL, self.web.url)
        if block.title:
            (self.folder / block.title).write_text(text, encoding="utf-8")
        else:
            self._run([sys.executable, "-c", text], block)

    def _toml(self, block: Block) -> None:
        assert block.title, f"nothing says which file this is: {block.content}"
        path = self.folder / block.title.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.content, encoding="utf-8")

    _jinja = _ini = _toml

    def _json(self, block: Block) -> None:
        answered = self.calls()[-1]["body"]
        assert list(documents.differences(json.loads(block.content), answered)) == [], block.content

    def _env(self, block: Block) -> None:
        """Settings that a service starts with; where none runs, those of the page's later commands, too."""
        text = block.content.replace("/run/secrets/", f"{self.folder / 'secrets'}/")
        for path in re.findall(rf"{self.folder / 'secrets'}/[\w.-]+", text):
            if not Path(path).exists():
                Path(path).write_text("a-password")
        env_file = self.folder / ("shown.env" if self.starts_service else ".env")
        env_file.write_text(text)
        has_server = re.search(r"(?m)^\w*_SERVER=|^FRONTEND_URL", text)
        assert load({} if has_server else MAIL, env_file)

    def _yaml(self, block: Block) -> None:
        """With a title a file, else an override of compose.yaml: of services that are there, by settings that exist."""
        if block.title:
            self._toml(block)
            return
        services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
        override = yaml.safe_load(block.content)
        assert override["services"].keys() <= services.keys()
        for service in override["services"].values():
            variables = {
                name: str(self.folder / path.replace("/run/", "")) for name, path in service["environment"].items()
            }
            assert load({**MAIL, "MAIL_USERNAME": "x", **variables}, None).mail_password

    def _sql(self, block: Block) -> None:
        self.run_sql(block.content)

    def _text(self, block: Block) -> None:
        """What a program prints: shown, and neither run nor compared."""

    def _start(self) -> None:
        if self.web is None:
            self.web = self.house.serve()

    def _message_id(self, script: str) -> str:
        """The id that the page speaks of: of the first message that it sent, or of one that still waits."""
        assert self.web
        if "/cancel" in script:
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            state = self.folder / "state"
            key = re.search(r"(?m)^export KEY='?([\w-]+)", state.read_text() if state.exists() else "")
            caller = replace(self.web, api_key=key[1]) if key else self.web
            return str(caller.send(send_at=tomorrow.isoformat())["id"])
        return next(str(call["body"]["id"]) for call in self.calls() if call["status"] == 202 and "id" in call["body"])

    def _check_statuses(self, block: Block, statuses: list[int]) -> None:
        told = {command.expected for command in documents.commands(block.content) if command.expected}
        wrong = [status for status in statuses if status >= 400 and status not in told]
        assert not wrong, f"answered {wrong}:\n{block.content}\n{self.calls()[-1]['body']}"
        assert told <= set(statuses), f"answered {statuses}, not {told}:\n{block.content}"

    def _run(self, command: list[str], block: Block) -> None:
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=self.patience_seconds,
            check=False,
        )
        assert ran.returncode == 0, f"{block.content}\n{ran.stdout}\n{ran.stderr}"

    def _put(self, name: str, line: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


def _without_the_desk(state: str) -> str:
    """What a block exported, without what every block gets anew."""
    ours = tuple(f"export {name}" for name in ("PATH=", "DESK", "ID="))
    return "".join(line for line in state.splitlines(keepends=True) if not line.startswith(ours))


def unreadable(text: str) -> Iterator[str]:
    """Fences that FENCE does not see, such as one that is indented."""
    if len(re.findall(r"(?m)^\s*```", text)) != 2 * len(documents.FENCE.findall(text)):
        yield "a fence is indented, or does not end"
