"""Reads a documentation page for what it claims, and names each claim that does not hold.

Knows Markdown and shell just well enough for our own pages; `test_docs.py` says what is true and runs the examples.
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

OPERATORS = {"|", "||", "&&", ";", ">", ">>", "<"}
METHODS = "GET|HEAD|POST|PUT|PATCH|DELETE"
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+?) -->\n\n)?"
    r'^```(?P<language>[a-z]*)(?: title="(?P<title>[^"]+)")?\n(?P<content>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
SETTING = re.compile(r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=.*)?|([A-Z][A-Z0-9]{2,})=.*")
FREE = ("/metadata", "/variables_schema", "/sample_variables")  # whose members differ from one to the next
ADR_PARTS = ["Context", "Decision", "Consequences", "Rejected"]
# Split, so that this file does not mention what no file may mention.
FORBIDDEN = {
    "a package registry": r"pypi" + r"\.|python" + "hosted|npm" + "js|ruby" + r"gems\.|crates\." + "io",
    "a path of one machine": r"(?<![\w.-])/(?:work|root|home/\w+)" + "/",
    "who wrote it": r"(?i)\b(?:clau" + "de|anthro" + "pic|open" + "ai|chat" + "gpt|co" + "pilot|co-authored" + "-by)",
}
PRAISE = re.compile(
    r"(?i)\b(?:amazing|awesome|battle-tested|beautiful|best-in-class|blazing\w*|cutting-edge|delightful|easily|"
    r"effortless\w*|enterprise-grade|incredibl\w+|lightning|modern|powerful|production-ready|robust|rock-solid|"
    r"seamless\w*|simply|state-of-the-art|world-class)\b"
)


@dataclass(frozen=True)
class Truth:
    """What the pages are held against."""

    root: Path = field(default_factory=Path)
    targets: frozenset[str] = frozenset()
    commands: click.Group = field(default_factory=click.Group)
    names: frozenset[str] = frozenset()  # settings, and the variables of make, image, compose and tests
    codes: dict[str, int] = field(default_factory=dict)
    endpoints: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    content: str
    section: str  # everything from the heading above it to the block
    title: str | None = None  # the file that it is
    reason: str | None = None  # why no test runs it


@dataclass(frozen=True)
class Command:
    """One command of a shell block, with the status that a trailing `# 422` expects."""

    words: list[str]
    expected: int | None = None


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: str
    text: str

    @property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]

    @property
    def blocks(self) -> list[Block]:
        return [
            Block(section=re.split(r"(?m)^#+ ", self.text[: found.start()])[-1], **found.groupdict())
            for found in FENCE.finditer(self.text)
        ]

    @property
    def commands(self) -> Iterator[Command]:
        for span in self.spans:
            if re.match(r"(?:make|email-service)\b", span):
                yield from commands(span)
        for block in self.blocks:
            if block.language in {"sh", "bash", "shell", "console"}:
                yield from commands(block.content)

    @property
    def endpoints(self) -> set[str]:
        found = [re.match(rf"({METHODS}) (/[^\s?]*)", span) for span in self.spans]
        return {f"{each[1]} {general(each[2])}" for each in found if each}


Check = Callable[[Page, Truth], Iterator[str]]


def files(root: Path) -> list[str]:
    """What is in the repository, or would be with the next commit."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    return sorted({name for name in listed if name and (root / name).is_file()})


def pages(root: Path) -> list[Page]:
    return [Page(name, (root / name).read_text(encoding="utf-8")) for name in files(root) if name.endswith(".md")]


def general(path: str) -> str:
    """A path with its parameters unnamed."""
    return re.sub(r"<[^>]+>|\{[^}]+\}", "{}", path)


def commands(text: str) -> Iterator[Command]:
    """The commands of a shell text; a quote may span lines."""
    pending = ""
    for line in text.splitlines():
        pending += line.removeprefix("$ ") + "\n"
        joined = pending.replace("\\\n", " ")
        if pending.endswith("\\\n"):
            continue
        try:
            words = shlex.split(joined, comments=True)
        except ValueError:
            continue  # inside a quote
        noted = re.search(r"# ([1-5][0-9]{2})\n$", pending)
        pending, part = "", []
        for word in [*words, ";"]:
            if word in OPERATORS:
                yield from [Command(part, int(noted[1]) if noted else None)] if part else []
                part = []
            else:
                part.append(word)
    if pending.strip():
        yield Command(shlex.split(pending))


def links_lead_somewhere(page: Page, truth: Truth) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.prose):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = (truth.root / page.path).parent / path if path else truth.root / page.path
        if not found.exists():
            yield f"{page.path} links to {target}, which does not exist"
        elif anchor and anchor not in anchors(found.read_text(encoding="utf-8")):
            yield f"{page.path} links to {target}, where no heading has that name"


def make_targets_exist(page: Page, truth: Truth) -> Iterator[str]:
    for command in page.commands:
        if command.words[0] == "make":
            for word in command.words[1:]:
                name, is_variable, _ = word.partition("=")
                if not (name.startswith("-") or name in (truth.names if is_variable else truth.targets)):
                    yield f"{page.path} says `make {word}`, which the Makefile does not know"


def commands_exist(page: Page, truth: Truth) -> Iterator[str]:
    for command in page.commands:
        names = [word.rpartition("/")[2] for word in command.words]
        if "email-service" in names:
            at = names.index("email-service")
            following = command.words[at + 1 :]
            # Further back it may be an image's name; then only what is a command for certain is looked at.
            if at == 0 or (following and _find(truth.commands, following[0])):
                yield from (f"{page.path}: {complaint}" for complaint in _misuse(truth.commands, following))


def settings_exist(page: Page, truth: Truth) -> Iterator[str]:
    written = [found[1] or found[2] for found in map(SETTING.fullmatch, page.spans) if found]
    for block in page.blocks:
        if block.language == "env":
            written += re.findall(r"(?m)^(?:# )?([A-Z][A-Z0-9_]+)=", block.content)
    for name in written:
        if name not in truth.names and name.removesuffix("_FILE") not in truth.names:
            yield f"{page.path} names the setting {name}, which does not exist"


def endpoints_exist(page: Page, truth: Truth) -> Iterator[str]:
    for endpoint in sorted(page.endpoints - truth.endpoints):
        yield f"{page.path} names {endpoint}, which nothing answers"


def error_codes_are_right(page: Page, truth: Truth) -> Iterator[str]:
    """Those in the table of the API's page, in both directions, and those in its examples."""
    if page.path != "docs/api.md":
        return
    told = {code: int(status) for code, status in re.findall(r"(?m)^\| `([a-z_]+)` \| (\d{3}) \|", page.text)}
    for code, status in told.items():
        true = truth.codes.get(code) or getattr(HTTPStatus, code.upper(), None)
        if status != true:
            yield f"{page.path} says that {code} is {status}, not {true}"
    for code in sorted({*truth.codes, *re.findall(r'"code": "([a-z_]+)"', page.text)} - set(told)):
        yield f"{page.path} has no row for {code}"


def decisions_have_all_parts(page: Page, truth: Truth) -> Iterator[str]:
    if re.match(r"docs/adr/\d", page.path) and re.findall(r"(?m)^## (.+)$", page.text) != ADR_PARTS:
        yield f"{page.path} has other parts than {', '.join(ADR_PARTS)}"


def nothing_is_praised(page: Page, truth: Truth) -> Iterator[str]:
    for found in PRAISE.finditer(page.prose):
        yield f"{page.path} advertises: {found[0]}"


CHECKS: tuple[Check, ...] = (
    links_lead_somewhere,
    make_targets_exist,
    commands_exist,
    settings_exist,
    endpoints_exist,
    error_codes_are_right,
    decisions_have_all_parts,
    nothing_is_praised,
)


def missing(names: set[str], page: Page) -> set[str]:
    """The names that stand nowhere in the page's code."""
    return names - set(page.spans)


def anchors(text: str) -> set[str]:
    """The names that links can give to the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.+)$", FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def forbidden(path: str, text: str) -> Iterator[str]:
    """What no file of the project mentions."""
    for what, pattern in FORBIDDEN.items():
        for found in re.finditer(pattern, text):
            yield f"{path}:{text.count(chr(10), 0, found.start()) + 1} mentions {what}: {found[0]}"


def differences(told: Any, given: Any, pointer: str = "") -> Iterator[str]:
    """Where an example has other members or types than the real answer; null may stand for anything."""
    if isinstance(told, dict) and isinstance(given, dict):
        if pointer.endswith(FREE):
            return
        for name in sorted(told.keys() ^ given.keys()):
            yield f"{pointer}/{name} is {'not in the answer' if name in told else 'not told'}"
        for name in told.keys() & given.keys():
            yield from differences(told[name], given[name], f"{pointer}/{name}")
    elif isinstance(told, list) and isinstance(given, list):
        yield from differences(told[0], given[0], f"{pointer}/0") if told and given else ()
    elif type(told) is not type(given) and None not in {told, given}:
        yield f"{pointer} is {given!r}, not {told!r}"


def _misuse(command: click.Command, words: list[str]) -> Iterator[str]:
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        if (found := _find(command, name)) is None:
            yield f"there is no command {command.name} {name}"
            return
        command = found
    known = {"-h", "--help", *(option for each in command.params for option in each.opts)}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known:
            yield f"{command.name} has no option {word}"


def _find(group: click.Group, name: str) -> click.Command | None:
    return group.get_command(click.Context(group), name)
