"""Every error is a problem document (RFC 9457) that names its request, and none tells more than it should."""

import json
import re
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from email_service.kernel.errors import ServiceError
from tests.applications import WELCOME, Api
from tests.log_capture import captured_logs

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


def assert_problem(response, status: int, code: str) -> None:
    assert (response.status_code, response.content_type) == (status, "application/problem+json"), response.text
    problem = response.json
    assert set(problem) - {"errors"} == MEMBERS
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"urn:problem:{code}")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]


@pytest.fixture
def broken(house) -> Api:
    """Calls that meet what nobody foresaw: a row that no code of ours wrote."""
    api = Api(house, house.add_client())
    house.execute("UPDATE clients SET scopes = '{half of some json'")
    return api


@pytest.fixture
def without_database(reopen, api) -> Api:
    """An instance whose PostgreSQL is not there."""
    return Api(reopen(database_url="postgresql://nobody@127.0.0.1:1/nothing"), api.key)


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v2/messages", "/v1/messages/7", "/v1/templates/no-such", "/%00", "/../etc"]
)
def test_what_is_not_there_is_404(api, path):
    assert_problem(api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/messages"),
        ("DELETE", "/v1/messages"),
        ("POST", "/healthz"),
        ("PATCH", "/v1/templates"),
        ("TRACE", "/docs"),
    ],
)
def test_a_method_that_is_not_there_is_405_and_says_which_are(api, method, path):
    """T30"""
    response = api.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert method not in response.headers["Allow"].split(", ")
    assert response.headers["Allow"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_not_json_is_415(api, content_type):
    assert_problem(api.raw(json.dumps(WELCOME).encode(), content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/vnd.shop+json", "APPLICATION/JSON"],
)
def test_json_by_any_of_its_names_is_read(api, content_type):
    assert api.raw(json.dumps(WELCOME).encode(), content_type).status_code == 202


BODIES = {
    "no json": b"template=welcome",
    "cut off": b'{"template": "welc',
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "string": b'"welcome"',
    "NaN": b'{"template": NaN}',
    "Infinity": b'{"template": -Infinity}',
    "twice": b'{"template": "a", "template": "b"}',
    "twice below": b'{"template": "a", "variables": {"a": 1, "a": 2}}',
    "NUL": b'{"template": "a\\u0000"}',
    "lone surrogate": b'{"template": "\\ud800"}',
    "lone surrogate in a name": b'{"variables": {"\\udfff": 1}}',
    "surrogate in octets": b'{"template": "\xed\xa0\x80"}',
    "not utf-8": b'{"template": "\xff"}',
    "utf-16": json.dumps(WELCOME).encode("utf-16"),
    "utf-16 with NUL": '{"template": "\\u0000"}'.encode("utf-16-le"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "endless number": b'{"template": ' + b"9" * 5000 + b"}",
    "two documents": b"{}{}",
    "raw control": b'{"template": "a\nb"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_with_two_readings_or_none_is_400(api, body):
    """T28"""
    response = api.raw(body)
    assert_problem(response, 400, "malformed_body")


@pytest.mark.parametrize("depth", [65, 500, 960, 980, 1000, 100_000])
@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_deep_body_is_400_however_deep(api, depth, start, end):
    """T28"""
    body = b'{"template":"welcome","to":"a@b.com","variables":{"name":' + start * depth + b"1" + end * depth + b"}}"
    assert_problem(api.raw(body), 400, "malformed_body")


def steps(call: Callable[[], object]) -> int:
    """How many steps of Python it takes, whatever else the machine has to do."""
    count, before = 0, sys.gettrace()

    def note(*_seen: object) -> Callable[..., Any]:
        nonlocal count
        count += 1
        return note

    sys.settrace(note)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def test_a_large_body_with_an_escape_is_checked_in_no_time(api):
    """T28: with no step for each of its characters, of which a body has millions."""
    body = json.dumps({"content": "x" * 1_000_000 + "\u00e9"})
    assert 0 < steps(lambda: api.house.app.json.loads(body)) < 10_000


def test_many_shallow_members_are_no_depth(api):
    body = {**WELCOME, "metadata": {str(number): "" for number in range(20)}, "cc": [{"email": "a@b.com"}] * 50}
    assert api.post("/v1/messages", json=body).status_code == 202


def test_an_endless_exponent_is_no_crash(api):
    """T28: 1e400 is valid JSON and infinity to Python."""
    response = api.raw(b'{"template":"welcome","to":"a@b.com","variables":{"name":1e400}}')
    assert_problem(response, 422, "invalid_input")


def test_a_body_of_one_byte_too_many_is_413_before_it_is_read(house, reopen):
    """T28"""
    api = Api(reopen(MAX_BODY_BYTES="1024"), house.add_client())
    unread = _Unread()
    environ = {"wsgi.input": unread, "CONTENT_LENGTH": "1025", "CONTENT_TYPE": "application/json"}
    response = Api(api.house, api.key, environ=environ).post("/v1/messages")
    assert_problem(response, 413, "body_too_large")
    assert not unread.was_read
    padded = json.dumps(WELCOME).encode().ljust(1024)
    assert api.raw(padded).status_code == 202
    assert_problem(api.raw(padded + b" "), 413, "body_too_large")


def test_a_body_without_a_length_is_cut_at_the_limit(house, reopen):
    """T28: chunked, and without an end."""
    endless = _Endless()
    environ = {"wsgi.input": endless, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    api = Api(
        reopen(MAX_BODY_BYTES="1024"), house.add_client(), environ={**environ, "CONTENT_TYPE": "application/json"}
    )
    assert_problem(api.post("/v1/messages"), 413, "body_too_large")
    assert endless.read_bytes <= 128 * 1024


def test_a_chunked_body_within_the_limit_is_read(house):
    environ = {
        "wsgi.input": BytesIO(json.dumps(WELCOME).encode()),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "",
    }
    assert Api(house, house.add_client(), environ=environ).post("/v1/messages").status_code == 202


def test_a_500_names_the_request_and_tells_nothing_else(broken):
    with captured_logs():
        response = broken.get("/v1/templates")
    assert_problem(response, 500, "internal_error")
    assert response.json["detail"] == ServiceError().detail
    assert "errors" not in response.json


@pytest.mark.parametrize("path", ["/v1/templates", "/v1/messages"])
def test_without_the_database_it_is_503_with_a_time(without_database, path):
    """F4"""
    response = without_database.get(path)
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in response.text


@pytest.mark.parametrize("given", ["a", "abc-DEF_1.2:3", "x" * 128])
def test_a_well_formed_request_id_is_the_callers_own(api, given):
    for response in (
        api.get("/v1/templates", headers={"X-Request-ID": given}),
        api.get("/nothing", headers={"X-Request-ID": given}),
    ):
        assert response.headers["X-Request-ID"] == given
    assert response.json["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "<script>", "é", "a;b", "a\tb"])
def test_another_request_id_is_replaced(api, given):
    """T27"""
    response = api.get("/v1/templates", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-ID"])


def test_every_request_has_an_id_of_its_own(api):
    assert len({api.get("/healthz").headers["X-Request-ID"] for _ in range(5)}) == 5


class _Unread:
    """A body that notes whether anybody touched it."""

    was_read = False

    def read(self, size: int = -1) -> bytes:
        self.was_read = True
        return b" " * max(size, 0)

    readline = read


class _Endless:
    """A body that never ends, and counts what was taken of it."""

    read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        size = size if size >= 0 else 64 * 1024
        self.read_bytes += size
        assert self.read_bytes < 10**7, "the whole of an endless body was asked for"
        return b" " * size

    readline = read

    def readinto(self, buffer) -> int:
        buffer[:] = self.read(len(buffer))
        return len(buffer)
