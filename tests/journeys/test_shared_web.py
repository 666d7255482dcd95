"""Two gunicorn processes on PostgreSQL: one key means one message, and the edge holds against hostile HTTP."""

import json
import re
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg
import pytest
import requests
import servers

from tests.journeys.processes import House, Web, measured, wait_until, welcome

MAX_BODY_BYTES = 100_000


@pytest.fixture(scope="module")
def database_url(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def web(database_url, tmp_path_factory) -> Iterator[Web]:
    """One service for all of these, in capture mode."""
    settings = {
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.token_urlsafe(32),
        "MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "API_RATE_LIMIT": "100000/minute",
        "PUBLIC_RATE_LIMIT": "100000/minute",
    }
    with House(tmp_path_factory.mktemp("shared"), settings) as house:
        served = house.serve("--workers", "2")
        served.api_key = house.create_client()
        yield served


def test_fifty_parallel_calls_with_one_key_make_one_message(web, database_url):
    """T31"""
    body = {**welcome("once@example.com"), "client_reference": "fifty"}

    def send(_: int) -> requests.Response:
        return web.call("POST", "/v1/messages", json=body, headers={"Idempotency-Key": "fifty"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.text for answer in accepted}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in accepted) == 1
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    again = send(51)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM messages WHERE client_reference = 'fifty'").fetchone()
    assert row == (1,)


def test_a_body_one_byte_too_long_is_refused_before_it_is_sent(web):
    """T28"""
    with _connection(web) as sock:
        sock.sendall(_head(web, f"Content-Length: {MAX_BODY_BYTES + 1}"))
        status, body = _answer(sock)
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")


def test_a_body_of_exactly_the_limit_is_read(web):
    """T28"""
    body = json.dumps(welcome("full@example.com")).encode()
    padded = body + b" " * (MAX_BODY_BYTES - len(body))
    headers = {"Content-Type": "application/json"}
    assert web.call("POST", "/v1/messages", data=padded, headers=headers).status_code == 202


def test_an_endless_chunked_body_is_refused_and_nobody_else_waits(web):
    """T28"""
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    with _connection(web) as sock:
        sock.sendall(_head(web, "Transfer-Encoding: chunked"))
        with suppress(OSError):
            for _ in range(10 * MAX_BODY_BYTES // 4096):
                sock.sendall(chunk)
        assert _is_quick(web)
        status, body = _answer(sock)
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 60",
        "Content-Length: 5, 60",
        "Content-Length: +5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\r\nContent-Length:\x00 5",
        " Transfer-Encoding: chunked",
    ],
)
def test_an_ambiguous_frame_gets_one_answer_and_smuggles_no_request(web, framing):
    """T29"""
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    with _connection(web) as sock:
        sock.sendall(_head(web, framing) + smuggled)
        answers = _everything(sock)
    assert answers.count(b"HTTP/1.1 ") == 1, answers
    assert answers.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), answers
    assert b'"status":"ok"' not in answers


@pytest.mark.parametrize(
    ("kind", "count"), [("silent", 1000), ("head", 1000), ("body", 1000), ("stranger", 100), ("refused", 100)]
)
def test_many_slow_clients_stop_nobody(web, kind, count):
    """T28"""
    beginnings = {
        "silent": b"",
        "head": b"POST /v1/messages HTTP/1.1\r\nHo",
        "body": _head(web, "Content-Length: 500") + b"{",
        "stranger": _head(web, "Content-Length: 90000").replace(b"Bearer esk_", b"Bearer ") + b"{",
        "refused": b"BROKEN\r\n\r\n",
    }
    with ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(_connection(web))
            sock.sendall(beginnings[kind])
        time.sleep(0.2)
        # A busy machine may be slow once; the connections are kept for longer than this.
        assert wait_until(lambda: _is_quick(web, within_seconds=1), 8)
        assert web.call("POST", "/v1/messages", json=welcome("quick@example.com"), timeout=12).status_code == 202
    assert wait_until(lambda: _is_quick(web))


def test_a_request_in_pieces_and_two_at_once_are_answered(web):
    body = json.dumps(welcome("pieces@example.com")).encode()
    request = _head(web, f"Content-Length: {len(body)}") + body
    with _connection(web) as sock:
        for piece in (
            request[:20],
            request[20:90],
            request[90:-5],
            request[-5:] + request + request[:40],
            request[40:],
        ):
            sock.sendall(piece)
            time.sleep(0.1)
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
        answers = _everything(sock, silence_seconds=30)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"202", b"202", b"202", b"200"]


def test_a_client_that_waits_for_a_100_is_told_to_go_on(web):
    body = json.dumps(welcome("waits@example.com")).encode()
    with _connection(web) as sock:
        sock.sendall(_head(web, f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close"))
        sock.settimeout(30)
        assert sock.recv(1000).startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        assert _answer(sock)[0] == 202


def test_a_head_without_end_is_refused(web):
    with _connection(web) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 60_000)
        assert _answer(sock)[0] == 431
    assert _is_quick(web)


@pytest.mark.parametrize("chunks", [b"ZZ\r\n{}\r\n", b"2\r\n{}XX", b"5\r\n{"])
def test_a_body_whose_chunks_cannot_be_read_is_the_callers_fault(web, chunks):
    """T29"""
    with _connection(web) as sock:
        sock.sendall(_head(web, "Transfer-Encoding: chunked") + chunks)
        sock.shutdown(socket.SHUT_WR)
        status, body = _answer(sock)
    assert (status, json.loads(body)["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"BROKEN\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost : edge\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: edge\r\n\r\n", 414, "request_uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nExpect: miracles\r\n\r\n", 417, "expectation_failed"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431, "request_header_fields_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000, 431, "request_header_fields_too_large"),
        (b"POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: xchunked\r\n\r\n", 501, "not_implemented"),
    ],
)
def test_what_is_no_request_is_answered_as_a_problem_too(web, sent, status, code):
    """T29"""
    with _connection(web) as sock:
        sock.sendall(sent)
        head, _, body = _everything(sock).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert (int(head.split(b" ", 2)[1]), problem["status"], problem["code"]) == (status, status, code)
    assert b"Content-Type: application/problem+json\r\n" in head
    assert f"X-Request-ID: {problem['request_id']}".encode() in head
    assert problem["request_id"]
    assert problem["detail"]


def _is_quick(web, within_seconds: float = 5) -> bool:
    begun_at = time.monotonic()
    is_well = False
    with suppress(requests.Timeout):
        is_well = requests.get(f"{web.url}/healthz", timeout=5).ok
    took_seconds = time.monotonic() - begun_at
    measured(f"/healthz answered in {took_seconds:.3f} s")
    return is_well and took_seconds < within_seconds


@contextmanager
def _connection(web) -> Iterator[socket.socket]:
    host, port = web.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), 10)) as sock:
        yield sock


def _head(web, framing: str) -> bytes:
    lines = ["POST /v1/messages HTTP/1.1", "Host: edge", f"Authorization: Bearer {web.api_key}"]
    return "\r\n".join([*lines, "Content-Type: application/json", framing, "", ""]).encode()


def _answer(sock) -> tuple[int, bytes]:
    head, _, body = _everything(sock).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def _everything(sock, silence_seconds: float = 5) -> bytes:
    """All that comes until the server closes, or has begun to answer and says nothing for a while."""
    sock.settimeout(30)
    received = b""
    with suppress(OSError):
        while octets := sock.recv(65536):
            received += octets
            sock.settimeout(silence_seconds)
    return received
