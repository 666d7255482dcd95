"""Holds the house's rules over the whole tree, and shows for each of them that it notices when it is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rules

ROOT = Path(__file__).parent.parent
FOLDERS = ("email_service", "clients", "examples", "tests", "bench", "website")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SERVICE = "email_service/messages/service.py"
CALLS = "clients/python/email_service_client/calls.py"
DOCSTRING = '"""Knows messages."""\n'
SEVEN = "a, b, c, d, e, f, g"

# A rule, a file that breaks it, and a word of the complaint.
BROKEN = [
    (rules.files_are_short, SERVICE, "\n" * 301, "301 lines"),
    (rules.files_are_short, "tests/unit/test_state.py", "\n" * 301, "301 lines"),
    (rules.functions_are_short, SERVICE, "def f():\n" + "    x = 1\n" * 50, "51 lines"),
    (rules.functions_are_short, "bench/send.py", "class A:\n async def f(self):\n" + "  x = 1\n" * 50, "51 lines"),
    (rules.parameters_are_few, SERVICE, f"def f({SEVEN}): ...", "7 parameters"),
    (rules.parameters_are_few, SERVICE, "def f(a, /, b, c, *, d, e, f, g): ...", "7 parameters"),
    (rules.parameters_are_few, SERVICE, "def f(a, b, c, d, e, *f, **g): ...", "7 parameters"),
    (rules.parameters_are_few, CALLS, f"def f({SEVEN}): ...", "7 parameters"),
    (rules.parameters_are_few, SERVICE, f"@cached\ndef f({SEVEN}): ...", "7 parameters"),
    (rules.modules_say_what_they_know, SERVICE, "x = 1", "no docstring"),
    (rules.modules_say_what_they_know, CALLS, "x = 1", "no docstring"),
    (rules.modules_say_what_they_know, SERVICE, '"""knows messages"""', "0 sentences"),
    (rules.modules_say_what_they_know, SERVICE, '"""One. Two. Three. Four. Five."""', "5 sentences"),
    (rules.names_are_nouns_of_ours, "email_service/web/utils.py", "", "says nothing"),
    (rules.names_are_nouns_of_ours, "email_service/common/state.py", "", "says nothing"),
    (rules.names_are_nouns_of_ours, "email_service/manager/__init__.py", "", "says nothing"),
    (rules.names_are_nouns_of_ours, "email_service/delivery/queue.py", "", "standard module"),
    (rules.names_are_nouns_of_ours, "email_service/email/__init__.py", "", "standard module"),
    (rules.names_are_nouns_of_ours, "tests/helpers.py", "", "says nothing"),
    (rules.everything_is_caught_only_at_the_guards, SERVICE, "try: f()\nexcept Exception: g()", "catches everything"),
    (rules.everything_is_caught_only_at_the_guards, CALLS, "try: f()\nexcept Exception: g()", "catches everything"),
    (rules.everything_is_caught_only_at_the_guards, SERVICE, "try: f()\nexcept: g()", "catches everything"),
    (rules.everything_is_caught_only_at_the_guards, SERVICE, "try: f()\nexcept (A, BaseException): g()", "catches"),
    (rules.everything_is_caught_only_at_the_guards, SERVICE, "with suppress(Exception): f()", "suppresses"),
    (rules.chance_comes_from_secrets, SERVICE, "import random", "imports random"),
    (rules.chance_comes_from_secrets, CALLS, "import random", "imports random"),
    (rules.chance_comes_from_secrets, SERVICE, "def f():\n from random import choice", "imports random"),
    (rules.time_comes_from_the_clock, SERVICE, "from datetime import datetime\ndatetime.now()", "reads datetime.now"),
    (
        rules.time_comes_from_the_clock,
        SERVICE,
        "import datetime\ndatetime.datetime.now()",
        "reads datetime.datetime.now",
    ),
    (rules.time_comes_from_the_clock, SERVICE, "import datetime as d\nd.datetime.utcnow()", "reads d.datetime.utcnow"),
    (rules.time_comes_from_the_clock, SERVICE, "import time\nf(default=time.time)", "reads time.time"),
    (rules.time_comes_from_the_clock, SERVICE, "from time import time", "imports time.time"),
    (rules.folders_are_two_deep, "email_service/messages/rooms/state.py", "", "3 folders deep"),
]
KEPT = [
    (rules.files_are_short, SERVICE, "\n" * 300),
    (rules.files_are_short, "clients/python/email_service_client/answers.py", "\n" * 301),
    (rules.functions_are_short, SERVICE, "def f():\n" + "    x = 1\n" * 49),
    (rules.parameters_are_few, SERVICE, "class A:\n def f(self, a, b, c, d, e, f): ..."),
    (rules.parameters_are_few, "email_service/cli/send.py", f"@click.option('--a')\ndef f({SEVEN}): ..."),
    (rules.parameters_are_few, "tests/unit/test_state.py", f"def test_many({SEVEN}): ..."),
    (rules.modules_say_what_they_know, SERVICE, '"""One (see A. B. C.). Two: `x. Y`. Three 1.1. Four."""'),
    (rules.names_are_nouns_of_ours, "email_service/delivery/retry.py", ""),
    (rules.names_are_nouns_of_ours, "tests/http/test_queue.py", ""),
    (rules.everything_is_caught_only_at_the_guards, "email_service/web/problems.py", "try: f()\nexcept Exception: g()"),
    (rules.everything_is_caught_only_at_the_guards, SERVICE, "try: f()\nexcept ValueError: g()"),
    (rules.everything_is_caught_only_at_the_guards, SERVICE, "try: f()\nexcept BaseException:\n g()\n raise"),
    (rules.time_comes_from_the_clock, "email_service/kernel/clock.py", "import time\ntime.time()"),
    (rules.time_comes_from_the_clock, SERVICE, "import time\ntime.sleep(1)\nclock.now()"),
    (rules.time_comes_from_the_clock, CALLS, "import time\ntime.monotonic()"),
    (rules.folders_are_two_deep, SERVICE, ""),
    (rules.folders_are_two_deep, "clients/python/email_service_client/calls.py", ""),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    # The folder goes first, before an installation of the project in this environment.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "clients" / "python")])}
    return subprocess.run(
        [program, "--no-logo", "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps(rule):
    assert FILES
    complaints = [
        complaint
        for path in FILES
        for complaint in rule(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("rule", "path", "source", "complaint"), BROKEN)
def test_a_rule_notices_when_it_is_broken(rule, path, source, complaint):
    complaints = list(rule(path, source))
    assert len(complaints) == 1
    assert complaint in complaints[0]


@pytest.mark.parametrize(("rule", "path", "source"), KEPT)
def test_a_rule_is_quiet_when_it_is_kept(rule, path, source):
    assert list(rule(path, source)) == []


def test_every_rule_was_broken_on_purpose():
    assert {case[0] for case in BROKEN} == set(rules.RULES)


def test_imports_point_one_way():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


# A file, the line that is added to it, and the contract that breaks.
@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("kernel/clock.py", "import email_service.clients.models", "Packages point one way"),
        ("suppressions/service.py", "import email_service.messages.models", "Packages point one way"),
        ("postman.py", "", "Packages point one way"),
        ("messages/models.py", "import email_service.messages.state", "Inside a feature"),
        ("messages/drawer.py", "", "Inside a feature"),
        ("delivery/transport.py", "import email_service.delivery.outbox", "Delivery"),
        ("delivery/drawer.py", "", "Delivery"),
        ("suppressions/service.py", "import flask", "Flask, Celery and smorest"),
        ("kernel/clock.py", "import celery", "Flask, Celery and smorest"),
        ("rendering/variables.py", "import email_service.rendering.catalog", "Rendering"),
        (
            "../clients/python/email_service_client/words.py",
            "import email_service_client.calls",
            "The client: services",
        ),
        (
            "../clients/python/email_service_client/words.py",
            "import email_service.kernel",
            "The client knows the service",
        ),
        ("../clients/python/email_service_client/calls.py", "import httpx2", "Only services and transports"),
        ("../clients/python/email_service_client/drawer.py", "", "The client: services"),
    ],
)
def test_a_contract_notices_an_import_that_points_the_other_way(tmp_path, path, line, contract):
    for package in ("email_service", "clients"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = tmp_path / "email_service" / path
    before = broken.read_text(encoding="utf-8") if broken.exists() else DOCSTRING
    broken.write_text(f"{before}\n{line}\n", encoding="utf-8")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    assert any(contract in row and row.endswith("BROKEN") for row in result.stdout.splitlines()), result.stdout
