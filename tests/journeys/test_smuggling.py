"""Requests whose length can be read in two ways, sent to a running web process: nobody hears the hidden reading."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.journeys.processes import House, Web

HIDDEN = (
    "POST /v1/messages HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {key}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)
BODY = '{"template": "welcome", "to": "evil@example.org", "variables": {"name": "Ada"}}'


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> Iterator[Web]:
    with House(tmp_path_factory.mktemp("web"), {}) as house:
        yield house.serve()


def exchange(web: Web, sent: bytes, silence_seconds: float = 10) -> bytes:
    """All that is answered before the other side closes, or has begun and falls silent."""
    host, port = web.url.removeprefix("http://").split(":")
    received = b""
    with closing(socket.create_connection((host, int(port)), 10)) as sock:
        sock.sendall(sent)
        sock.settimeout(30)
        with suppress(OSError):
            while octets := sock.recv(65536):
                received += octets
                sock.settimeout(silence_seconds)
    return received


def hide(web: Web, framing: str, before: str, after: str = "") -> bytes:
    """A request without a key whose body, read in another way, would be one that has a key."""
    hidden = HIDDEN.format(key=web.api_key, length=len(BODY), body=BODY)
    head = (
        f"POST /public/v1/tokens/verify HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    )
    return (head + before + hidden + after).encode()


def count_messages(web: Web) -> int:
    return len(web.get("/v1/messages")["data"])


def test_a_request_that_is_not_hidden_is_heard(web):
    """The other tests would show nothing if this one were not."""
    sent = HIDDEN.format(key=web.api_key, length=len(BODY), body=BODY).encode()
    before = count_messages(web)
    assert exchange(web, sent, silence_seconds=3).startswith(b"HTTP/1.1 202 ")
    assert count_messages(web) == before + 1


@pytest.mark.parametrize(
    ("framing", "before", "after"),
    [
        # The length says that it goes on, the chunks that it ended at once.
        pytest.param("Content-Length: 200\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "", id="CVE-2024-1135"),
        pytest.param("Transfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n", "", id="CVE-2024-6827"),
        pytest.param("Content-Length: 2\r\nContent-Length: 400", "{}", "", id="two lengths"),
        pytest.param("Content-Length: 2, 400", "{}", "", id="a list of lengths"),
        pytest.param("Content-Length: +2", "{}", "", id="a signed length"),
        pytest.param("Content-Length: 0x2", "{}", "", id="a length in another base"),
        pytest.param("Transfer-Encoding: xchunked\r\nContent-Length: 2", "{}", "", id="an unknown coding"),
        pytest.param("Transfer-Encoding: chunked, identity", "0\r\n\r\n", "", id="chunks that are not the last coding"),
        pytest.param("Transfer-Encoding : chunked\r\nContent-Length: 2", "{}", "", id="a space before the colon"),
        pytest.param("Transfer-Encoding:\x0bchunked\r\nContent-Length: 2", "{}", "", id="a vertical tab"),
        pytest.param("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 2", "{}", "", id="a bare line feed"),
        pytest.param("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 2", "{}", "", id="a folded line"),
        pytest.param("Transfer-Encoding: chunked", "2;\n\r\n{}\r\n0\r\n\r\n", "", id="a line feed in an extension"),
        pytest.param("Transfer-Encoding: chunked", "0x2\r\n{}\r\n0\r\n\r\n", "", id="a chunk in another base"),
    ],
)
def test_no_request_is_hidden_in_the_body_of_another(*, web, framing, before, after):
    """T29: gunicorn believed a coding that it did not know, or both lengths."""
    known = count_messages(web)
    answered = exchange(web, hide(web, framing, before, after))
    assert answered.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert answered.count(b"HTTP/1.1 ") == 1
    assert count_messages(web) == known
