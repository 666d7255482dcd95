"""The README of the client is true: its examples run in order at a real service, and its tables are complete."""

import contextlib
import inspect
import io
import re
import secrets
from pathlib import Path

import pytest
from documents import Page
from test_client_calls import mails

import email_service_client as client
from email_service_client.rooms import Room, asks

README = Path(__file__).parent.parent / "README.md"
PAGE = Page("clients/python/README.md", README.read_text(encoding="utf-8"))


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
