"""The inbox over HTTP: what tests of the main app read, and a page on which no mail can do harm."""

import re
from email.message import EmailMessage

import pytest

from email_service.inbox import service
from email_service.kernel import clock
from email_service.kernel.orm import new_id

HOSTILE = "</pre></title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def client(house):
    return house.app.test_client()


@pytest.fixture
def capture(house):
    def capture(to="ada@example.com", subject="Hello", text="Code 123456, https://a.test/x", html="<p>Hi</p>"):
        message = EmailMessage()
        message["Subject"] = subject
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
        with house.sessions.begin() as session:
            return str(service.capture(session, message.as_bytes(), new_id(), [to]).id)

    return capture


def directives(response) -> dict[str, str]:
    parts = response.headers["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


def test_a_test_reads_the_mail_with_its_links_and_codes(client, capture):
    mail_id = capture()
    capture(to="bob@example.com")
    [mail] = client.get("/inbox/messages?to=ADA@example.com").json["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", mail.pop("created_at"))
    assert mail == {
        "id": mail_id,
        "to": "ada@example.com",
        "recipients": ["ada@example.com"],
        "subject": "Hello",
        "html": "<p>Hi</p>\n",
        "text": "Code 123456, https://a.test/x\n",
        "links": ["https://a.test/x"],
        "codes": ["123456"],
    }


def test_the_newest_mail_is_the_first(client, capture):
    for subject in ("old", "new"):
        capture(subject=subject)
    assert [mail["subject"] for mail in client.get("/inbox/messages").json["data"]] == ["new", "old"]


def test_waiting_in_vain_answers_with_no_mail(client):
    started = clock.monotonic_seconds()
    assert client.get("/inbox/messages?wait_seconds=0.3").json == {"data": []}
    assert clock.monotonic_seconds() - started >= 0.3


def test_a_long_wait_is_cut_to_thirty_seconds(client, monkeypatch):
    slept = []
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: len(slept) * 9.0)
    monkeypatch.setattr(service, "sleep", slept.append)
    assert client.get("/inbox/messages?wait_seconds=86400").json == {"data": []}
    assert len(slept) == 4


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", ""])
def test_a_wait_that_is_no_span_is_refused_and_named(client, value):
    response = client.get("/inbox/messages", query_string={"wait_seconds": value})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/wait_seconds"]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/inbox/messages?wait=3", "/wait"),
        ("/inbox?view=pdf", "/view"),
        ("/inbox?mail=1", "/mail"),
        ("/inbox?to=" + "x" * 321, "/to"),
    ],
)
def test_an_argument_that_means_nothing_is_refused_and_named(client, path, pointer):
    response = client.get(path)
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, pointer)


def test_an_empty_inbox_says_what_to_do(client):
    page = client.get("/inbox").text
    assert "Nothing has been captured yet" in page
    assert "/v1/messages" in page


def test_the_page_shows_each_view_of_the_chosen_mail(client, capture):
    mail_id = capture()
    page = client.get(f"/inbox?mail={mail_id}").text
    assert f'src="/inbox/messages/{mail_id}/html"' in page
    assert "Code 123456" in client.get(f"/inbox?mail={mail_id}&view=text").text
    assert "Content-Type: multipart/alternative" in client.get(f"/inbox?mail={mail_id}&view=source").text


def test_a_mail_without_html_opens_as_text(client, capture):
    page = client.get(f"/inbox?mail={capture(html='')}").text
    assert "<iframe" not in page
    assert "Code 123456" in page


def test_a_mail_that_is_gone_is_said_to_be_gone(client):
    response = client.get(f"/inbox?mail={new_id()}")
    assert response.status_code == 404
    assert "This mail is gone" in response.text
    for part in ("html", "source"):
        assert client.get(f"/inbox/messages/{new_id()}/{part}").json["code"] == "not_found"


@pytest.mark.parametrize("view", ["html", "text", "source"])
def test_nothing_of_a_hostile_mail_is_markup_on_the_page(client, capture, view):
    """T22"""
    mail_id = capture(to=f"{HOSTILE}@example.com", subject=HOSTILE, text=HOSTILE, html=HOSTILE)
    query = {"mail": mail_id, "view": view, "to": f"{HOSTILE}@example.com"}
    for path in ("/inbox", "/inbox/list"):
        answer = client.get(path, query_string=query)
        assert answer.status_code == 200
        assert "<script>" not in answer.text
        assert "<img src=x" not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_no_dangerous_link_can_be_clicked_on_the_page(client, capture):
    """T22"""
    mail_id = capture(html='<a href="javascript:alert(1)">x</a>', text="javascript:alert(1)")
    assert "javascript:" not in client.get(f"/inbox?mail={mail_id}&view=html").text


def test_the_page_runs_and_frames_only_what_is_its_own(client, capture):
    """T10, T22"""
    for path in ("/inbox", f"/inbox?mail={capture()}", "/inbox/list"):
        response = client.get(path)
        assert directives(response) == {
            "default-src": "'none'",
            "style-src": "'self'",
            "script-src": "'self'",
            "frame-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", response.text)


def test_the_frame_of_a_mail_may_neither_run_scripts_nor_share_our_origin(client, capture):
    """T22"""
    mail_id = capture(html=HOSTILE)
    [sandbox] = re.findall(r'<iframe[^>]* sandbox="([^"]*)"', client.get(f"/inbox?mail={mail_id}").text)
    policy = directives(client.get(f"/inbox/messages/{mail_id}/html"))
    allowed = {"allow-popups", "allow-popups-to-escape-sandbox"}
    assert set(sandbox.split()) == set(policy.pop("sandbox").split()) == allowed
    assert policy == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: cid: https:",
        "frame-ancestors": "'self'",
    }


def test_links_of_a_framed_mail_open_outside_of_the_frame(client, capture):
    framed = client.get(f"/inbox/messages/{capture(html='<p>Hi</p>')}/html").text
    assert framed == '<!doctype html><base target="_blank"><p>Hi</p>\n'


def test_the_source_is_plain_text_that_no_browser_runs_or_downloads(client, capture):
    """T22"""
    response = client.get(f"/inbox/messages/{capture(html=HOSTILE)}/source")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Content-Disposition" not in response.headers
    assert directives(response)["sandbox"] == ""
    assert response.data.startswith(b"Subject: Hello")


def test_nothing_of_a_mail_is_cached_guessed_or_told_by_a_referrer(client, capture):
    """T10: a captured mail holds live tokens."""
    mail_id = capture()
    for path in ("", "/list", "/messages", f"/messages/{mail_id}/html", f"/messages/{mail_id}/source"):
        headers = client.get(f"/inbox{path}").headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_stands_with_its_own_files_only(client, capture):
    """T10"""
    page = client.get(f"/inbox?mail={capture()}").text
    files = set(re.findall(r'(?:src|href)="(/inbox/static/[^"]+)"', page))
    assert {path.rpartition(".")[2] for path in files} == {"css", "js", "svg"}
    for path in files:
        answer = client.get(path, buffered=True)
        assert answer.status_code == 200
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
