"""What a caller is told when something is wrong, at a real service and by both clients."""

import json
import secrets
import sqlite3
import traceback

import pytest
from faces import Face
from scripted import Answer, answering, problem
from test_client_calls import WELCOME

import email_service_client as client
from email_service_client import EmailService, Retries
from tests.journeys.processes import free_port

ONCE = {"retries": Retries(total_seconds=0)}


@pytest.fixture(scope="module")
def issue_key(installation, web):
    """Another client's key, with these scopes and limits."""

    def issue(*options: str) -> str:
        made = installation.command("client", "create", secrets.token_hex(4), *options, "--json")
        assert made.returncode == 0, made.stderr
        return json.loads(made.stdout)["api_key"]

    return issue


def test_values_that_cannot_be_used_are_named(face):
    with pytest.raises(client.InvalidInput) as refused:
        face.ask(lambda service: service.messages.send(template="welcome", to="ada@example.com", variables={}))
    error = refused.value
    assert (error.code, error.status, error.title) == ("invalid_input", 422, "Invalid input")
    assert [(fault.pointer, fault.message) for fault in error.errors] == [("/variables/name", "is required")]
    assert error.request_id
    assert error.request_id in str(error)
    assert error.detail in str(error)


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        (client.InvalidInput, lambda service: service.messages.send(template="none", to="a@b.example")),
        (client.NotFound, lambda service: service.messages.get("01a1fbc5-cf0f-71b6-8660-565e4b785ed7")),
        (client.NotFound, lambda service: service.tokens.issue(purpose="magic_link", subject="nobody")),
        (client.TokenInvalid, lambda service: service.tokens.verify("magic_link", "x" * 43)),
        (client.TokenInvalid, lambda service: service.public.refresh("x" * 43, reader_ip="192.0.2.1")),
    ],
)
def test_a_refusal_has_a_class_of_its_own(face, kind, act):
    with pytest.raises(kind) as refused:
        face.ask(act)
    assert type(refused.value) is kind
    assert refused.value.errors == refused.value.problem.errors


def test_a_key_that_is_not_valid_is_told_and_not_shown(face):
    with pytest.raises(client.Unauthenticated):
        face.ask(lambda service: service.messages.list(), api_key="esk_000000000000_wrong")
    with pytest.raises(client.Unauthenticated):
        face.ask(lambda service: service.messages.list(), api_key=None)


def test_a_scope_that_is_missing_is_told(face, issue_key):
    with pytest.raises(client.ScopeMissing, match="messages:send"):
        face.ask(
            lambda service: service.messages.send(**WELCOME, to="a@b.example"),
            api_key=issue_key("--scope", "messages:read"),
        )


def test_a_conflict_is_told(face, service):
    sent = service.messages.send(**WELCOME, to="a@b.example", send_at=None)
    service.messages.list()
    email = f"{secrets.token_hex(4)}@example.com"
    service.accounts.put(secrets.token_hex(4), email=email)
    with pytest.raises(client.Conflict) as refused:
        face.ask(lambda service: service.accounts.put(secrets.token_hex(4), email=email))
    assert refused.value.code == "email_taken"
    with pytest.raises(client.Conflict):
        face.ask(lambda service: service.messages.retry(sent.id))


def test_tokens_expire_and_are_used_up(face, service, installation):
    subject = secrets.token_hex(4)
    wanted = {"purpose": "password_reset", "subject": subject, "email": "a@example.com", "deliver": False}
    issued = service.tokens.issue(**wanted)
    service.tokens.consume("password_reset", issued.token)
    with pytest.raises(client.TokenUsed):
        face.ask(lambda service: service.tokens.verify("password_reset", issued.token))
    again = service.tokens.issue(**wanted)
    with sqlite3.connect(installation.folder / "var" / "email_service.db") as database:
        database.execute("UPDATE tokens SET expires_at = '2020-01-01 00:00:00' WHERE subject = ?", (subject,))
    with pytest.raises(client.TokenExpired) as refused:
        face.ask(lambda service: service.public.verify("password_reset", again.token, reader_ip=None))
    assert isinstance(refused.value, client.TokenRefused)


def test_too_many_calls_are_told_with_the_time_to_wait(face, issue_key):
    key = issue_key("--scope", "*", "--rate-limit", "1/hour")
    quiet = Face(face.url, key, face.is_blocking)
    quiet.ask(lambda service: service.templates.list())
    with pytest.raises(client.RateLimited) as refused:
        quiet.ask(lambda service: service.templates.list())
    assert 0 < refused.value.retry_after <= 3600


def test_a_code_without_a_class_is_a_problem_all_the_same(face):
    with pytest.raises(client.ProblemError) as refused:
        face.ask(lambda service: service.accounts.get("x" * 5000))
    assert (type(refused.value), refused.value.code) == (client.ProblemError, "request_uri_too_long")


def test_nobody_at_the_address(face):
    with pytest.raises(client.ConnectionFailed) as failed:
        face.ask(lambda service: service.messages.list(), url=f"http://127.0.0.1:{free_port()}", **ONCE)
    assert not failed.value.may_have_arrived


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b"<h1>Not found</h1>", "text/html"),
        Answer(404, problem("not_found", 404).content, "application/json"),
        Answer(302, b"", headers={"Location": "https://elsewhere.example/"}),
        Answer(500, b'{"code": "x"}', "application/problem+json"),
        Answer(404, b"[" * 100_000, "application/problem+json"),
        Answer(200, b"<h1>Welcome</h1>", "text/html"),
        Answer(200, b'{"data": [{"id": 1}]}'),
        Answer(200, b'{"items": []}'),
        Answer(200, b"[]"),
    ],
    ids=lambda answer: f"{answer.status} {answer.content[:20].decode()}",
)
def test_somebody_else_at_the_address(face, answer):
    """What is no answer of the service is never taken for one, and nothing follows it to another address."""
    with answering(answer) as stranger:
        with pytest.raises(client.UnexpectedAnswer, match=f"GET /v1/messages: {answer.status}"):
            face.ask(lambda service: service.messages.list(), url=stranger.url)
        assert len(stranger.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(429, client.RateLimited), (502, client.Unavailable), (504, client.Unavailable)]
)
def test_what_a_proxy_says_in_its_own_words(face, status, kind):
    with (
        answering(Answer(status, b"<h1>Oh</h1>", "text/html", {"Retry-After": "90"})) as stranger,
        pytest.raises(kind) as told,
    ):
        face.ask(lambda service: service.messages.list(), url=stranger.url)
    assert (told.value.status, told.value.retry_after) == (status, 90)


@pytest.mark.parametrize(
    "url",
    [
        "mail.acme.example",
        "ftp://a.example",
        "https://ada:secret@a.example",
        "https://a.example?x=1",
        "https://a.example#x",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(ValueError, match="address of the service") as refused:
        EmailService(url, "esk_secret")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["esk_secret\n", "esk secret", "", "esk_s\u00e9cret"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_shown(key):
    """T27: a file with the key in it ends in a line feed."""
    with pytest.raises(ValueError, match="API key") as refused:
        EmailService("https://mail.acme.example", key)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "order\n42", "x" * 256, "\u00e9"])
def test_an_idempotency_key_that_is_none_is_refused(face, key):
    with pytest.raises(ValueError, match="1 to 255"):
        face.ask(lambda service: service.messages.send(**WELCOME, to="a@b.example", idempotency_key=key))


def test_no_proxy_of_the_environment_gets_to_see_the_key(face, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert face.ask(lambda service: service.templates.get("welcome")).name == "welcome"


def test_a_value_leads_to_no_other_call(face, service):
    """T30: CVE-2025-48370"""
    subject = secrets.token_hex(4)
    service.accounts.put(subject, email=f"{subject}@example.com")
    for step in ("", ".", ".."):
        with pytest.raises(ValueError, match="subject"):
            face.ask(lambda service, step=step: service.accounts.delete(step))
    with pytest.raises(client.NotFound):
        face.ask(lambda service: service.messages.get(f"../accounts/{subject}"))


def test_an_address_of_a_reader_is_one_address():
    """T16: a header that is passed on unread would let the reader choose by which address it is counted."""
    with EmailService("https://mail.acme.example") as service, pytest.raises(ValueError, match="192"):
        service.public.verify("magic_link", "x", reader_ip="192.0.2.1, 10.0.0.1")


def test_no_secret_is_in_what_is_shown(face, service):
    """T27"""
    key, token, password = face.api_key, "t0ken" * 8, "hidd3n"
    issued = service.tokens.issue(purpose="magic_link", subject="u", email="a@example.com", deliver=False)
    started = face.ask(
        lambda service: service.tokens.issue(purpose="login_code", subject="u", email="a@example.com", deliver=False)
    )
    shown = [repr(issued), repr(started), repr(vars(service))]
    for act in (
        lambda service: service.tokens.consume("magic_link", token),
        lambda service: service.messages.send(template="welcome", to="a@example.com", variables={"nam": password}),
    ):
        with pytest.raises(client.ProblemError) as refused:
            face.ask(act)
        shown += [repr(refused.value), "".join(traceback.format_exception(refused.value))]
    with pytest.raises(client.ConnectionFailed) as failed:
        face.ask(lambda service: service.tokens.consume("magic_link", token), url="http://127.0.0.1:9", **ONCE)
    assert (failed.value.__cause__, failed.value.__context__) == (None, None)
    shown += [repr(failed.value), *(repr(value) for frame, _ in traceback.walk_tb(failed.tb) for value in own(frame))]
    for secret in (key, token, password, issued.token, started.code):
        assert secret
        assert secret not in "\n".join(shown)


def own(frame):
    """What a reporter of errors would show of a frame of the client."""
    is_own = "email_service_client" in frame.f_code.co_filename
    return [value for name, value in frame.f_locals.items() if is_own and name not in {"args", "kwargs"}]
