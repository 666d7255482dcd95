"""The README of the client is true: its examples run in order at a real service, and its tables are complete."""

import contextlib
import inspect
import io
import re
import secrets
import subprocess
import sys
import tomllib
from pathlib import Path

import documents
import pytest
from documents import Page
from test_client_calls import mails

import email_service_client as client
from email_service_client.rooms import Room, asks

README = Path(__file__).parent.parent / "README.md"
PAGE = Page("clients/python/README.md", README.read_text(encoding="utf-8"))

# Without a registry, and into no environment.
OFFLINE = ["--no-index", "--no-deps", "--no-build-isolation"]
OPTIONS = {"install": [*OFFLINE, "--dry-run", "--ignore-installed"], "wheel": OFFLINE}


def pip(folder: Path, words: list[str]) -> str:
    """What pip says to a command of the page; AssertionError when it fails, and for an extra that there is not."""
    declared = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {extra for word in words for extra in re.findall(r"\[(\w+)\]", word)} <= {*declared["optional-dependencies"]}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, *OPTIONS[words[0]]]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def shown(web):
    """The names that the examples leave behind, and what they printed."""
    names = {"__name__": "readme"}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("EMAIL_API_KEY", web.api_key)
        for block in PAGE.blocks:
            if block.language == "python":
                exec(block.content.replace("http://127.0.0.1:8000", web.url), names)
    yield names, printed.getvalue()
    names["service"].close()
    names["patient"].close()


def test_the_examples_run(shown):
    _, printed = shown
    assert re.match(r"[0-9a-f-]{36} queued\n", printed)
    assert "message.accepted" in printed
    assert "invalid_input [('/variables/name', 'is required')]" in printed
    first, second = printed.splitlines()[-2:]
    assert first == second


def test_it_is_installed_as_the_page_says(tmp_path):
    (tmp_path / "clients").symlink_to(README.parents[1])
    shell = [block for block in PAGE.blocks if block.language == "sh"]
    commands = [command.words for block in shell for command in documents.commands(block.content)]
    assert {words[0] for words in commands} == {"pip"}
    told = {words[1]: pip(tmp_path, words[1:]) for words in commands}
    assert re.search(r"Would install .*email-service-client", told["install"])
    assert [path.suffix for path in (tmp_path / "dist").iterdir()] == [".whl"]


@pytest.mark.parametrize(
    "words", [["install", "./clients/nowhere"], ["install", "./clients/python[invented]"], ["wheel", "--invented", "."]]
)
def test_a_wrong_way_to_install_it_is_noticed(tmp_path, words):
    (tmp_path / "clients").symlink_to(README.parents[1])
    with pytest.raises(AssertionError):
        pip(tmp_path, words)


def test_no_block_of_the_page_is_left_out():
    assert {block.language for block in PAGE.blocks} == {"sh", "python"}
    assert [block for block in PAGE.blocks if block.reason] == []


def test_a_password_is_reset_as_the_page_says(shown, web):
    names, _ = shown
    passwords = {}
    names["set_password"] = passwords.__setitem__
    subject, email = secrets.token_hex(4), f"{secrets.token_hex(4)}@example.com"
    names["register"](subject, email)
    access_token, _ = names["sign_in"](subject)
    assert names["who"](access_token) == subject
    assert names["who"]("x") == "nobody"
    reader = "198.51.100.77"
    assert names["forgot_password"](email, reader).startswith("If an account exists")
    token = mails(web, email)[0]["links"][-1].partition("token=")[2]
    assert names["reset_password"](token, "analytical engine") == "The password is changed."
    assert passwords == {subject: "analytical engine"}
    assert "used" in names["reset_password"](token, "difference engine")
    assert list(names["service"].sessions.list(subject)) == []
    told = [names["forgot_password"](email, reader) for _ in range(3)][-1]
    assert re.fullmatch(r"Too many requests\. Try again in \d+ seconds\.", told)


def test_every_call_and_every_exception_is_named():
    spans = set(PAGE.spans)
    with client.EmailService("https://mail.acme.example") as service:
        rooms = {name: room for name, room in vars(service).items() if isinstance(room, Room)}
    for room, found in rooms.items():
        [row] = [line for line in PAGE.text.splitlines() if line.startswith(f"| `{room}` |")]
        calls = {name for name in vars(type(found)) if not name.startswith("_")}
        assert set(re.findall(r"`(\w+)`", row)) == {room, *calls}
    own = {name for name, member in inspect.getmembers_static(client.EmailService) if isinstance(member, asks)}
    exceptions = {name for name in client.__all__ if issubclass(getattr(client, name), Exception)}
    assert own | exceptions <= spans
    assert len(own) == 2
    assert len(exceptions) > 12
