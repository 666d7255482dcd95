"""The gallery over HTTP: what it shows, that it follows the files, and whom it refuses."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from scripted_transport import ACCEPTED, DOWN, Scripted
from werkzeug.test import TestResponse

from email_service.gallery.post import Post
from email_service.gallery.routes import create_gallery
from email_service.gallery.workshop import Workshop
from email_service.kernel.addresses import Mailbox
from email_service.rendering.files import Files
from email_service.rendering.variables import Brand
from email_service.settings import resource

BUILTIN = resource("templates") / "email"
BRAND = Brand(name="Acme", frontend_url="https://app.example.com")
HOST = "127.0.0.1:8025"
WELCOME = {"template": "welcome", "locale": "en", "theme": "light", "case": "sample"}


@dataclass
class Visitor:
    """The gallery's page, with its token; `asked` are the lanes that a transport was opened for."""

    client: FlaskClient
    token: str
    transport: Scripted
    asked: list[str] = field(default_factory=list)

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers={"Host": HOST})

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.client.post(path, json=body, headers={"Host": HOST, "X-CSRF-Token": self.token, **headers})

    def render(self, **changes: Any) -> Any:
        answer = self.post("/render", {**WELCOME, **changes})
        assert answer.status_code == 200, answer.text
        return answer.json


def build(own: Path | None, *reports: Any) -> Visitor:
    transport, asked = Scripted(list(reports or [ACCEPTED])), []

    def open_transport(lane: str) -> Scripted:
        asked.append(lane)
        return transport

    post = Post(
        sender=Mailbox("mail@acme.example", "Acme"),
        open_transport=open_transport,
        sign=lambda content, domain: f"X-Signed: {domain}\r\n".encode() + content,
        way="Leaves through <nowhere>.",
        remedy="Check the way.",
    )
    folders = [BUILTIN, *([own] if own else [])]
    client = create_gallery(Workshop(lambda: Files(BUILTIN, own), BRAND, folders), post, 8025).test_client()
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/", headers={"Host": HOST}).text)
    assert token
    return Visitor(client, token[1], transport, asked)


@pytest.fixture
def visitor() -> Visitor:
    return build(None)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "welcome").mkdir()
    (tmp_path / "welcome" / "subject.txt").write_text("Hello {{ name }}")
    return tmp_path


def test_the_list_has_every_template_with_what_the_switches_offer(own):
    listed = build(own).get("/templates").json
    origins = {each["name"]: each["origin"] for each in listed["templates"]}
    assert (origins["welcome"], origins["receipt"]) == ("changed", "built-in")
    assert set(listed["templates"][0]["cases"]) == {"sample", "required", "longest"}
    assert all(each["locales"][0] == "en" for each in listed["templates"])


def test_a_mail_is_shown_as_an_inbox_a_page_text_and_source_would(visitor):
    found = visitor.render(locale="de")
    assert (found["subject"], found["locale"]) == ("Willkommen bei Acme, Ada", "de")
    assert found["preheader"].startswith("Ihr Konto")
    assert len(found["html"].encode()) == found["html_bytes"]
    frame = visitor.get(f"/frames/{found['frame']}")
    assert frame.text.endswith(found["html"].split("<body", 1)[1])


@pytest.mark.parametrize(("theme", "always"), [("light", False), ("dark", True)])
def test_the_frame_is_in_the_theme_that_was_chosen(visitor, theme, always):
    frame = visitor.get(f"/frames/{visitor.render(theme=theme)['frame']}").text
    assert ("@media (min-width: 0) {\n  .page" in frame) == always
    assert "prefers-color-scheme" not in frame


def test_variables_are_the_samples_those_required_the_longest_or_ones_own(visitor):
    assert "Complete your profile" in visitor.render()["text"]
    assert "Complete your profile" not in visitor.render(case="required")["text"]
    assert "Wonderful Wonderful" in visitor.render(case="longest")["text"]
    assert visitor.render(variables={"name": "Bo"})["subject"] == "Welcome to Acme, Bo"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({**WELCOME, "variables": {}}, "/variables/name is required"),
        ({**WELCOME, "template": "welcom"}, "did you mean 'welcome'"),
        ({**WELCOME, "case": "most"}, "one of sample, required, longest"),
        ({**WELCOME, "theme": "blue"}, "one of light, dark"),
        ({**WELCOME, "template": ["welcome"]}, "template has to be text"),
        ([], "one JSON object"),
    ],
)
def test_what_cannot_be_shown_is_told(visitor, body, detail):
    answer = visitor.post("/render", body)
    assert answer.status_code == 422
    assert detail in answer.json["detail"]


def test_a_saved_file_is_shown_at_once_and_a_broken_one_is_named(own):
    visitor = build(own)
    state = visitor.get("/templates").json["state"]
    assert visitor.render()["subject"] == "Hello Ada"
    (own / "welcome" / "subject.txt").write_text("Hi {{ name }}!")
    assert visitor.render()["subject"] == "Hi Ada!"
    assert visitor.get("/templates").json["state"] != state
    (own / "welcome" / "manifest.toml").write_text("broken")
    told = visitor.get("/templates").json
    assert told["templates"] == []
    assert told["problems"][0]["file"] == str(own / "welcome" / "manifest.toml")
    assert visitor.post("/render", WELCOME).status_code == 500
    (own / "welcome" / "manifest.toml").unlink()
    assert visitor.render()["subject"] == "Hi Ada!"


def test_changes_are_told_as_they_are_saved(own):
    visitor = build(own)
    told = visitor.get("/changes").iter_encoded()
    first = next(told)
    (own / "welcome" / "subject.txt").write_text("Another")
    second = next(told)
    assert first != second
    assert all(re.fullmatch(rb"data: [0-9a-f]{16}\n\n", each) for each in (first, second))


def test_the_findings_of_a_template_are_those_of_the_check(own):
    (own / "welcome" / "body.txt").write_text("{{ nam }}")
    visitor = build(own)
    found = visitor.get("/findings/welcome").json["findings"]
    assert ("uses 'nam', which is not in the manifest's variables", 1) in [
        (each["message"], each["line"]) for each in found
    ]
    assert visitor.get("/findings/receipt").json["findings"] == []


def test_a_mail_is_sent_as_the_service_would_send_it(visitor):
    answer = visitor.post("/send", {**WELCOME, "template": "password-reset", "to": "ada@example.com"})
    assert (answer.status_code, answer.json["detail"]) == (200, "On its way to ada@example.com: queued")
    (parcel,) = visitor.transport.parcels
    assert (parcel.sender, parcel.recipient) == ("mail@acme.example", "ada@example.com")
    assert parcel.content.startswith(b"X-Signed: acme.example\r\n")
    assert b"Subject: Reset your Acme password\r\n" in parcel.content
    assert visitor.asked == ["token"]


@pytest.mark.parametrize("address", ["", "ada", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com"])
def test_a_mail_goes_to_one_address(visitor, address):
    """T15, T19."""
    assert visitor.post("/send", {**WELCOME, "to": address}).status_code == 422
    assert visitor.transport.parcels == []


def test_a_server_that_is_down_is_told_with_what_to_do():
    answer = build(None, DOWN).post("/send", {**WELCOME, "to": "ada@example.com"})
    assert answer.status_code == 502
    assert answer.json["detail"] == "Not sent (connect): refused Check the way."


@pytest.mark.parametrize("path", ["/", "/templates", "/changes", "/findings/welcome", "/static/gallery.js", "/nowhere"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8025", "127.0.0.1", "127.0.0.1:80", "localhost.evil:8025", ""]
)
def test_a_name_that_leads_here_by_rebinding_is_refused(visitor, path, host):
    """T17: whatever the browser believes to talk to, only the gallery's own addresses are answered."""
    answer = visitor.client.get(path, headers={"Host": host, "X-Forwarded-Host": HOST})
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "guess"},
        {"X-CSRF-Token": "\u00e9"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8000"},
    ],
)
@pytest.mark.parametrize("path", ["/send", "/render"])
def test_another_page_cannot_send(visitor, path, headers):
    answer = visitor.post(path, {**WELCOME, "to": "ada@example.com"}, **headers)
    assert answer.status_code == 403
    assert visitor.transport.parcels == []


def test_its_own_page_can_by_either_name(visitor):
    for host in (HOST, "localhost:8025"):
        answer = visitor.post("/render", WELCOME, Host=host, Origin=f"http://{host}")
        assert answer.status_code == 200


def test_sending_takes_more_than_a_link(visitor):
    """T9."""
    assert visitor.get("/send").status_code == 405
    form = {"Host": HOST, "X-CSRF-Token": visitor.token}
    assert visitor.client.post("/send", data={**WELCOME, "to": "a@example.com"}, headers=form).status_code == 422
    assert visitor.transport.parcels == []


@pytest.mark.parametrize(
    "path",
    [
        "/findings/..%2f..%2fetc%2fpasswd",
        "/findings/_layout",
        "/frames/..%2f..%2fpyproject.toml",
        "/frames/welcome",
        "/static/..%2froutes.py",
        "/static/%2e%2e/routes.py",
    ],
)
def test_no_name_is_a_path(visitor, path):
    """T22: names are looked up among what is known, never on the disk."""
    assert visitor.get(path).status_code in {404, 422}


def test_a_page_holds_no_mail_and_a_frame_nothing_but_one(visitor):
    """T22: scripts run on the page alone, styles of a mail hold in its frame alone."""
    page = visitor.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "Leaves through &lt;nowhere&gt;." in page.text
    assert not re.search(r"https?://|<script>|<style|style=|\son\w+=", page.text.replace(visitor.token, ""))
    frame = visitor.get(f"/frames/{visitor.render()['frame']}")
    assert frame.headers["Content-Security-Policy"].startswith("sandbox allow-popups")
    assert "script-src" not in frame.headers["Content-Security-Policy"]
    for answer in (page, frame, visitor.get("/templates")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Frame-Options"] == "DENY"


def test_a_body_has_a_bound(visitor):
    """T28."""
    answer = visitor.post("/render", {**WELCOME, "variables": {"name": "x" * 2_000_000}})
    assert answer.status_code in {413, 422}
    assert "x" * 100 not in answer.text


def test_old_previews_are_let_go(visitor):
    first = visitor.render()["frame"]
    assert len({visitor.render()["frame"] for _ in range(32)}) == 32
    assert visitor.get(f"/frames/{first}").status_code == 404
    assert json.loads(visitor.get(f"/frames/{first}").text)["detail"].startswith("This preview is gone")
