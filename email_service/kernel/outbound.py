"""One POST to an address that an operator wrote down, made so that it cannot be led into a private network (SSRF).

The name is resolved once, every address of it is judged, and the connection goes to the one that was judged. Follows no
redirect, asks no proxy, and knows nothing of what is sent. An answer that is too late or too long is no answer.
"""

import io
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address, IPv6Address, ip_address
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import SplitResult, urlsplit

from email_service.kernel import clock

ANSWER_OCTETS = 64 * 1024
_HEAD_OCTETS = 32 * 1024  # what may come before the content of an answer and between its chunks
_PORTS = {"http": 80, "https": 443}


class NoAnswerError(Exception):
    """Nobody answered, or nobody whom we may ask; the text is for the log and holds nothing that was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post to. A host of `private_hosts` may be at any address; every other one at public ones only."""

    url: str
    private_hosts: tuple[str, ...] = ()
    seconds: float = 5.0  # for everything: the name, the connection, the question and the answer
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content_type: str  # without parameters, in small letters
    content: bytes


def post(target: Target, content: bytes, headers: Mapping[str, str]) -> Answer:
    """The answer to this content, whatever its status; NoAnswerError when there is none."""
    url, ends_at = urlsplit(target.url), clock.monotonic_seconds() + target.seconds
    connection = HTTPConnection(url.hostname or "", url.port or _PORTS[url.scheme])
    path = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    try:
        with _connect(target, url, ends_at) as connected:
            connection.sock = _Wire(connected, ends_at)
            connection.request("POST", path, content, {**headers, "Host": url.netloc, "Connection": "close"})
            response = connection.getresponse()
            answer = response.read(ANSWER_OCTETS + 1)
    except (OSError, HTTPException, UnicodeError) as error:
        raise NoAnswerError(type(error).__name__) from None
    if len(answer) > ANSWER_OCTETS:
        raise NoAnswerError(f"the answer is longer than {ANSWER_OCTETS} octets")
    return Answer(response.status, response.headers.get_content_type(), answer)


def is_public(address: str) -> bool:
    """Whether this IP address is one that anybody on the internet could reach too."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found.sixtofour is not None or found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def is_private_host(host: str, private_hosts: tuple[str, ...]) -> bool:
    """Whether the operator allowed this host to be at a private address; capitals and a final dot do not matter."""
    return _plain(host) in map(_plain, private_hosts)


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _connect(target: Target, url: SplitResult, ends_at: float) -> socket.socket:
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    places = _resolve(host, port, ends_at)
    if not is_private_host(host, target.private_hosts) and not all(is_public(place[0]) for place in places):
        raise NoAnswerError("the host has an address that is not public and is none of the private hosts")
    connected = _reach(places, ends_at)
    if url.scheme == "https":
        try:
            connected.settimeout(_left(ends_at))
            connected = target.tls.wrap_socket(connected, server_hostname=host)
        except BaseException:  # bare re-raise: whatever it was, no socket stays open
            connected.close()
            raise
    return connected


def _reach(places: list[Any], ends_at: float) -> socket.socket:
    """A connection to the first of these addresses that takes one."""
    refusal = OSError("no address")
    for place in places:
        try:
            return socket.create_connection(place, _left(ends_at))
        except OSError as error:
            refusal = error
    raise refusal


def _resolve(host: str, port: int, ends_at: float) -> list[Any]:
    """Host and port of each place where the host is; the host is an IP address from now on."""
    found: SimpleQueue[Any] = SimpleQueue()

    def ask() -> None:
        try:
            found.put([(place[0], port) for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as error:
            found.put(error)

    # The resolver has a patience of its own, which nobody can shorten.
    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = found.get(timeout=_left(ends_at))
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    if not answer:
        raise OSError("no address")
    return list(answer)


def _left(ends_at: float) -> float:
    """Seconds until then; TimeoutError when there are none."""
    left = ends_at - clock.monotonic_seconds()
    if left <= 0:
        raise TimeoutError
    return left


class _Wire:
    """As much of a socket as `http.client` uses. No step of it gets more time than is left for all of them."""

    def __init__(self, connected: socket.socket, ends_at: float) -> None:
        self._connected, self._ends_at = connected, ends_at

    def sendall(self, content: bytes) -> None:
        self._connected.settimeout(_left(self._ends_at))
        self._connected.sendall(content)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Arrivals(self._connected, self._ends_at))

    def close(self) -> None:
        """Whoever opened the socket closes it; `http.client` would do so before it has read the answer."""


class _Arrivals(io.RawIOBase):
    """What the other side sends, so long as it is neither too late nor too much."""

    def __init__(self, connected: socket.socket, ends_at: float) -> None:
        self._connected, self._ends_at = connected, ends_at
        self._octets_left = ANSWER_OCTETS + _HEAD_OCTETS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(_left(self._ends_at))
        count = self._connected.recv_into(buffer)
        self._octets_left -= count
        if self._octets_left < 0:
            raise OSError("too much")
        return count
