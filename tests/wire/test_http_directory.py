"""The main app is asked who exists: signed, believed only in the agreed shape, and never anywhere but where it is."""

import base64
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from email_service.accounts import http_directory
from email_service.accounts.directory import Person
from email_service.accounts.http_directory import HttpDirectory
from email_service.kernel import clock
from email_service.kernel.errors import UnavailableError
from email_service.kernel.outbound import ANSWER_OCTETS, Target
from tests.log_capture import captured_logs
from tests.main_app import JSON, SECRET, MainApp, is_signed, running

ADA = {"subject": "u-1", "email": "Ada@Example.com"}
LOOPBACK = ("127.0.0.1", "localhost")
WHOLE = {**ADA, "name": "Ada", "locale": "pt-BR", "email_verified": True, "disabled": True}


@pytest.fixture
def main_app():
    with running(MainApp(people={"u-1": dict(ADA)})) as app:
        yield app


def directory_of(app: MainApp, **target) -> HttpDirectory:
    return HttpDirectory(Target(**{"url": app.url, "private_hosts": LOOPBACK, **target}), SECRET)


def ask(directory: HttpDirectory, subject: str = "u-1") -> Person | None:
    return directory.find_subject(None, subject)


def refused(directory: HttpDirectory) -> str:
    """What the log says of a question that got no answer."""
    with captured_logs() as stream, pytest.raises(UnavailableError) as caught:
        ask(directory)
    assert caught.value.retry_after_seconds
    [line] = [json.loads(each) for each in stream.getvalue().splitlines()]
    assert line["event"] == "directory.unavailable"
    assert "example.com" not in stream.getvalue().lower()
    return line["reason"]


def test_a_person_is_who_the_main_app_says(main_app):
    main_app.people = {"u-1": WHOLE, "u-2": {"subject": "u-2", "email": "eve@bücher.example", "more": 1}}
    directory = directory_of(main_app)
    expected = Person(
        subject="u-1", email="Ada@example.com", name="Ada", locale="pt-BR", email_verified=True, is_disabled=True
    )
    assert (ask(directory), directory.find_email(None, "ADA@example.com")) == (expected, expected)
    assert ask(directory, "u-2") == Person(subject="u-2", email="eve@xn--bcher-kva.example")
    assert (ask(directory, "u-3"), directory.find_email(None, "eve@example.com")) == (None, None)
    assert main_app.asked[:2] == [{"subject": "u-1"}, {"email": "ADA@example.com"}]


@pytest.mark.parametrize("secret", [SECRET, "whsec_" + base64.b64encode(b"k" * 32).decode()])
def test_every_request_is_signed_and_has_an_id_of_its_own(main_app, secret):
    directory = HttpDirectory(Target(url=main_app.url + "?by=mail", private_hosts=LOOPBACK), secret)
    ask(directory)
    ask(directory, "u-2")
    key = b"k" * 32 if secret.startswith("whsec_") else secret.encode()
    for path, headers, content in main_app.requests:
        assert path == "/internal/accounts?by=mail"
        assert is_signed(headers, content, key)
        assert not is_signed(headers, content + b" ", key)
        assert abs(int(headers["webhook-timestamp"]) - clock.now().timestamp()) < 60
        assert (headers["content-type"], headers["host"]) == (JSON, f"127.0.0.1:{main_app.port}")
    assert len({headers["webhook-id"] for _, headers, _ in main_app.requests}) == 2


@pytest.mark.parametrize("status", [204, 301, 302, 307, 400, 401, 403, 410, 429, 500, 503])
def test_any_other_status_is_no_answer_and_no_redirect_is_followed(main_app, status):
    """T23, F17"""
    main_app.status, main_app.headers = status, {"Location": main_app.url + "/elsewhere"}
    assert str(status) in refused(directory_of(main_app))
    assert len(main_app.requests) == 1


@pytest.mark.parametrize(
    "told",
    [
        [],
        None,
        "u-1",
        {},
        {"subject": "u-1"},
        {"email": "ada@example.com"},
        {**ADA, "subject": "u-2"},
        {**ADA, "subject": 1},
        {**ADA, "subject": ""},
        {**ADA, "email": "nobody"},
        {**ADA, "email": "a@example.com,b@example.com"},
        {**ADA, "email": "a@example.com\r\nBcc: b@example.com"},
        {**ADA, "email": None},
        {**ADA, "name": 1},
        {**ADA, "name": "A\r\nB"},
        {**ADA, "name": "A" * 201},
        {**ADA, "locale": "../de"},
        {**ADA, "locale": 1},
        {**ADA, "email_verified": "yes"},
        {**ADA, "disabled": 0},
        {**ADA, "disabled": None},
    ],
)
def test_what_has_another_shape_is_no_answer(main_app, told):
    """T34, F17"""
    main_app.content = json.dumps(told).encode()
    assert refused(directory_of(main_app))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 60_000, b'{"subject": "u-1", "email": NaN}'])
def test_what_is_no_json_is_no_answer(main_app, content):
    main_app.content = content
    assert refused(directory_of(main_app))


@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-8", "application/xml"])
def test_another_type_is_no_answer(main_app, content_type):
    """F17"""
    main_app.content_type = content_type
    assert content_type.partition(";")[0] in refused(directory_of(main_app))


def test_a_long_answer_is_no_answer(main_app):
    """T23: 64 kB and no octet more."""
    main_app.content = json.dumps(ADA).encode().ljust(ANSWER_OCTETS)
    assert ask(directory_of(main_app)).subject == "u-1"
    for length in (ANSWER_OCTETS + 1, 100_000):
        main_app.content = json.dumps(ADA).encode().ljust(length)
        assert "longer" in refused(directory_of(main_app))


def test_endless_headers_are_no_answer(main_app):
    """T23"""
    main_app.headers = {f"X-{number}": "x" * 5000 for number in range(90)}
    assert refused(directory_of(main_app))


@pytest.mark.parametrize("drip", [False, True])
def test_a_slow_answer_is_no_answer(main_app, drip):
    """T23, F17: the time is for all of it, so that an octet now and then does not prolong it."""
    released = threading.Event()
    main_app.drip, main_app.pause = drip, lambda: released.wait(0.2 if drip else 60)
    try:
        with ThreadPoolExecutor(1) as pool:
            # Dripped, the answer would take 30 s and more.
            assert "Timeout" in pool.submit(refused, directory_of(main_app, seconds=0.6)).result(15)
    finally:
        released.set()


def test_a_resolver_that_takes_its_time_is_not_waited_for(main_app, monkeypatch):
    """F17"""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [released.wait(60)][:0])
    with ThreadPoolExecutor(1) as pool:
        assert "Timeout" in pool.submit(refused, directory_of(main_app, seconds=0.3)).result(15)
    released.set()


def test_nobody_there_is_no_answer():
    """F17"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert refused(directory_of(MainApp(port=port)))


def test_a_name_that_is_none_is_no_answer():
    assert refused(HttpDirectory(Target(url="https://a..b/", private_hosts=()), SECRET))


def test_no_proxy_is_asked(main_app, monkeypatch):
    """T23"""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(directory_of(main_app)).subject == "u-1"


@pytest.mark.parametrize("names", [("localhost",), ("elsewhere.example",)])
def test_the_certificate_has_to_be_for_the_host(main_app, authority, server_context, context_for, names):
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}/"
        context = context_for(*names)

        def serve():
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as wire:
                    asked = b""
                    while b"u-1" not in asked:
                        asked += wire.recv(65536)
                    content = json.dumps(ADA).encode()
                    wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + content[:9])
                    wire.sendall(content[9:])
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        directory = HttpDirectory(Target(url=url, private_hosts=LOOPBACK, tls=trusting), SECRET)
        if names == ("localhost",):
            assert ask(directory).email == "Ada@example.com"
        else:
            assert "CertVerification" in refused(directory)
        thread.join(10)


def test_answers_are_kept_for_half_a_minute(main_app, monkeypatch):
    """Of both kinds; a failure is not kept."""
    directory = directory_of(main_app)
    main_app.status = 500
    assert refused(directory)
    main_app.status, main_app.asked = None, []
    begun_at = time.monotonic()
    for seconds, count in ((0, 2), (29, 2), (31, 4)):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: begun_at + seconds)
        assert (ask(directory).subject, ask(directory, "nobody")) == ("u-1", None)
        assert len(main_app.asked) == count
    assert directory.ask_subject("u-1").find_subject(None, "u-2") is None


def test_so_many_answers_are_kept_and_the_oldest_goes_first(main_app, monkeypatch):
    monkeypatch.setattr(http_directory, "KEPT_ANSWERS", 3)
    directory = directory_of(main_app)
    for subject in ("a", "b", "c", "d", "d", "b", "a"):
        ask(directory, subject)
    assert [each["subject"] for each in main_app.asked] == ["a", "b", "c", "d", "a"]
    assert len(directory._kept._told) == 3
