"""What `POST /v1/messages` refuses, with the place of each mistake, and that nothing of it is kept."""

import base64
from datetime import timedelta

import pytest

from email_service.kernel import clock

FILE = {"filename": "a.txt", "content_type": "text/plain", "content": "aGk="}
SOON = (clock.now() + timedelta(hours=1)).isoformat()
# What would end a header's line, or what some reader takes for its end.
BREAKS = ["\n", "\r", "\r\n", "\u2028", "\u2029", "\x0b", "\x85"]


def with_file(**changes) -> dict:
    return {"attachments": [{**FILE, **changes}]}


def pointers(response) -> list[str]:
    assert response.status_code == 422, (response.status_code, response.text)
    assert response.content_type == "application/problem+json"
    assert all(error["message"] for error in response.json["errors"])
    return [error["pointer"] for error in response.json["errors"]]


@pytest.fixture(autouse=True)
def nothing_is_kept(house):
    yield
    assert house.execute("SELECT count(*) FROM messages") == [(0,)]


@pytest.mark.parametrize(
    "to",
    [
        ["ada@example.com"],
        ["ada@example.com", "eve@example.com"],
        [{"email": "ada@example.com"}],
        "ada@example.com,eve@example.com",
        "ada@example.com;eve@example.com",
        "ada@example.com eve@example.com",
        '"ada@evil.com x"@example.com',
        "ada@example.com(comment)",
        "@route.example:ada@example.com",
        "Ada <ada@example.com>",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada",
        "ada@",
        "@example.com",
        "ada@exa mple.com",
        "",
        7,
        None,
        True,
        {},
        "a" * 65 + "@example.com",
        "a@" + "b" * 253 + ".com",
        "a" * 100_000,
    ],
)
def test_anything_but_one_address_is_refused(api, to):
    """T15, T19, CVE-2023-7028"""
    [pointer] = pointers(api.send(to=to))
    assert pointer in {"/to", "/to/email"}


@pytest.mark.parametrize("to", [{"email": ["a@b.com"]}, {"email": {"a": 1}}, {"email": None}, {"email": "a,b@c.de"}])
def test_an_object_in_to_holds_one_address_too(api, to):
    """T15"""
    assert pointers(api.send(to=to)) == ["/to/email"]


def test_a_repeated_to_is_refused_instead_of_the_last_one_winning(api):
    """T15, T28"""
    response = api.raw(b'{"template": "welcome", "to": "ada@example.com", "to": "eve@example.com"}')
    assert (response.status_code, response.json["code"]) == (400, "malformed_body")
    assert "to" in response.json["detail"]


INJECTED = {
    "/to/name": lambda text: {"to": {"email": "ada@example.com", "name": text}},
    "/from/name": lambda text: {"from_": {"email": "shop@example.com", "name": text}},
    "/reply_to/name": lambda text: {"reply_to": {"email": "help@example.com", "name": text}},
    "/cc/0/name": lambda text: {"cc": [{"email": "copy@example.com", "name": text}]},
    "/bcc/0/name": lambda text: {"bcc": [{"email": "copy@example.com", "name": text}]},
    "/to/email": lambda text: {"to": {"email": f"ada@example.com{text}"}},
    "/from/email": lambda text: {"from_": {"email": f"shop{text}@example.com"}},
    "/cc/0": lambda text: {"cc": [f"copy@exa{text}mple.com"]},
    "/headers/X-Order": lambda text: {"headers": {"X-Order": text}},
    "/attachments/0/content_type": lambda text: with_file(content_type=f"text/plain{text}"),
    "/attachments/0/content_id": lambda text: with_file(content_id=f"logo{text}"),
}


@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
@pytest.mark.parametrize("pointer", INJECTED)
def test_no_text_that_reaches_a_header_may_end_its_line(api, pointer, line_break):
    """T19, CVE-2024-6923, CVE-2026-1299"""
    text = f"before{line_break}Bcc: eve@example.com"
    assert pointers(api.send(**INJECTED[pointer](text))) == [pointer]


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\x0b"], ids=ascii)
@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        (lambda text: with_file(filename=text), "/attachments/0/filename"),
        (lambda text: {"tags": [text]}, "/tags/0"),
        (lambda text: {"client_reference": text}, "/client_reference"),
        (lambda text: {"metadata": {text: "1"}}, None),
        (lambda text: {"variables": {"name": text}}, "/variables/name"),
    ],
)
def test_no_name_holds_control_characters(api, changes, pointer, line_break):
    """T19"""
    [found] = pointers(api.send(**changes(f"a{line_break}b")))
    assert found.startswith("/metadata/") if pointer is None else found == pointer


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"Subject": "mine"}, "/headers/Subject"),
        ({"bcc": "eve@example.com"}, "/headers/bcc"),
        ({"Message-ID": "<1@a.test>"}, "/headers/Message-ID"),
        ({"X-Email-Service-Client": "other"}, "/headers/X-Email-Service-Client"),
        ({"X/Y~Z": "1"}, "/headers/X~1Y~0Z"),
        ({"X-A:": "1"}, "/headers/X-A:"),
        ({"X-A": "1", "x-a": "2"}, "/headers/x-a"),
        ({"X-A": "a" * 901}, "/headers/X-A"),
        ({"X-A": 7}, "/headers/X-A/value"),
        ({f"X-{number}": "1" for number in range(31)}, "/headers"),
    ],
)
def test_a_header_that_callers_may_not_set_is_refused(api, headers, pointer):
    """T19"""
    assert pointers(api.send(headers=headers)) == [pointer]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"unknown": 1}, "/unknown"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"to": {"email": "ada@example.com", "nmae": "Ada"}}, "/to/nmae"),
        ({"to": {"email": "ada@example.com", "name": {}}}, "/to/name"),
        ({"cc": [{"email": "ada@example.com", "name": 0}]}, "/cc/0/name"),
        ({"force": 0}, "/force"),
        ({"force": 1.0}, "/force"),
        ({"force": "true"}, "/force"),
        ({"template": None}, "/template"),
        ({"template": 7}, "/template"),
        ({"template": "no-such-template"}, "/template"),
        ({"template": "../welcome"}, "/template"),
        ({"variables": []}, "/variables"),
        ({"variables": "name=Ada"}, "/variables"),
        ({"variables": {}}, "/variables/name"),
        ({"variables": {"name": 7}}, "/variables/name"),
        ({"variables": {"name": "Ada", "x": 1}}, "/variables/x"),
        ({"variables": {"name": "Ada", "next_steps": ["ok", 7]}}, "/variables/next_steps/1"),
        ({"variables": {"name": "a" * 101}}, "/variables/name"),
        ({"locale": "german"}, "/locale"),
        ({"locale": "de\n"}, "/locale"),
        ({"cc": "copy@example.com"}, "/cc"),
        ({"cc": ["copy@example.com", "x"]}, "/cc/1"),
        ({"bcc": [7]}, "/bcc/0"),
        ({"reply_to": ["a@example.com"]}, "/reply_to"),
        ({"from_": "nobody"}, "/from"),
        ({"lane": "fast"}, "/lane"),
        ({"lane": "token"}, "/lane"),
        ({"tags": ["a"] * 11}, "/tags"),
        ({"tags": [""]}, "/tags/0"),
        ({"tags": ["a" * 51]}, "/tags/0"),
        ({"tags": "signup"}, "/tags"),
        ({"metadata": {"order": 42}}, "/metadata/order/value"),
        ({"metadata": {"order": "a" * 501}}, "/metadata/order/value"),
        ({"metadata": {str(number): "" for number in range(21)}}, "/metadata"),
        ({"client_reference": ""}, "/client_reference"),
        ({"client_reference": "a" * 256}, "/client_reference"),
        ({"client_reference": 42}, "/client_reference"),
        ({"headers": []}, "/headers"),
        ({"attachments": {}}, "/attachments"),
        ({"attachments": [FILE] * 51}, "/attachments"),
        (with_file(content="aGk"), "/attachments/0/content"),
        (with_file(content="a Gk="), "/attachments/0/content"),
        (with_file(content="aGk=\n"), "/attachments/0/content"),
        (with_file(content="_-8="), "/attachments/0/content"),
        (with_file(content=None), "/attachments/0/content"),
        (with_file(content=base64.b64encode(b"hi").decode() + "é"), "/attachments/0/content"),
        (with_file(filename=""), "/attachments/0/filename"),
        (with_file(filename="../../etc/passwd"), "/attachments/0/filename"),
        (with_file(filename="a" * 256), "/attachments/0/filename"),
        (with_file(content_type="message/rfc822"), "/attachments/0/content_type"),
        (with_file(content_type="pdf"), "/attachments/0/content_type"),
        (with_file(content_id="<logo>"), "/attachments/0/content_id"),
        (with_file(size=2), "/attachments/0/size"),
    ],
)
def test_each_mistake_is_named_by_its_place(api, changes, pointer):
    assert set(pointers(api.send(**changes))) == {pointer}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"send_at": "2026-11-21T09:30:00"}, "/send_at"),
        ({"send_at": "tomorrow"}, "/send_at"),
        ({"send_at": 1763717400}, "/send_at"),
        ({"send_at": "2026-13-01T00:00:00Z"}, "/send_at"),
        ({"send_at": "0001-01-01T00:00:00+23:00"}, "/send_at"),
        ({"send_at": (clock.now() + timedelta(days=367)).isoformat()}, "/send_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2199-01-01T00:00:00"}, "/expires_at"),
        ({"send_at": SOON, "expires_at": SOON}, "/expires_at"),
    ],
)
def test_a_time_that_cannot_be_meant_is_refused(api, changes, pointer):
    assert pointers(api.send(**changes)) == [pointer]


def test_all_mistakes_are_named_at_once(api):
    response = api.post("/v1/messages", json={"to": ["a"], "cc": ["x", "y"], "lane": "fast", "nope": 1})
    assert sorted(pointers(response)) == ["/cc/0", "/cc/1", "/lane", "/nope", "/template", "/to"]


def test_an_empty_body_is_told_what_is_missing(api):
    assert sorted(pointers(api.post("/v1/messages"))) == ["/template", "/to"]
