"""Every benchmark of the docs runs small to its end; its figures mean little then, and none is asserted."""

import re
import subprocess
import sys

import documents
import pytest

from tests.stand_ins import ROOT

PAGE = next(page for page in documents.pages(ROOT) if page.path == "docs/benchmarks.md")
SMALL = {"bench/render.py": ["--rounds", "1"]}
TABLE = re.findall(r"(?m)^\| `(bench/\w+\.py)` \|", PAGE.text)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", TABLE)
def test_a_benchmark_runs_to_its_end_and_prints_figures(script):
    command = [sys.executable, script, *SMALL.get(script, ["--quick"])]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    assert re.search(r"\d", ran.stdout), ran.stdout


def test_the_table_has_every_benchmark_that_the_page_runs():
    blocks = [block for block in PAGE.blocks if block.reason]
    commands = [command.words for block in blocks for command in documents.commands(block.content)]
    assert {words[1] for words in commands} == set(TABLE) - {"bench/flood.py"}
    assert {words[0] for words in commands} == {".venv/bin/python"}
