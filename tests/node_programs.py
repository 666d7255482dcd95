"""Programs in Node.js that answer each line with a line, and their packages. Knows no mail and no page."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import servers

from tests import missing

HOME = Path(__file__).parent / "node"


@contextmanager
def talking(program: str, *packages: str) -> Iterator[Callable[[str], Any]]:
    """Hands one line to a program of HOME, and returns what its line of JSON says, for as long as the block lasts."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing.give_up(servers.NODE)
    if not all((HOME / "node_modules" / package).is_dir() for package in packages):
        result = subprocess.run([npm, "ci"], cwd=HOME, capture_output=True, text=True, check=False, timeout=120)
        if result.returncode:
            sentence = f"{servers.NODE} is missing a package: run `npm ci` in tests/node with a registry in reach."
            missing.give_up(servers.NODE, sentence)
    with subprocess.Popen(
        [node, program], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:

        def ask(line: str) -> Any:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
