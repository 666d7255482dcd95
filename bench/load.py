"""The load generator, a process of its own: keeps connections busy with one kind of request and times every answer.

Reads a job as JSON on standard input and writes what it saw as JSON. Does as little per request as a client can, so
that it takes little from the cores it shares with what it measures; its own CPU time is in what it says.
"""

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 60
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass
class Line:
    """One keep-alive connection with at most one request under way."""

    sock: socket.socket
    number: int = 0  # of the request under way
    begun_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def read(self) -> int | None:
        """What has come; the status once the whole answer is here."""
        octets = self.sock.recv(65536)
        if not octets:
            raise ConnectionError("The server closed a connection that was to be kept.")
        self.received += octets
        end = self.received.find(b"\r\n\r\n") + 2
        if end < 2 or not self._is_whole(end):
            return None
        status = int(self.received[9:12])
        self.received.clear()
        return status

    def _is_whole(self, end: int) -> bool:
        length = _LENGTH.search(self.received, 0, end + 2)
        if length:
            return len(self.received) >= end + 2 + int(length[1])
        if not _CHUNKED.search(self.received, 0, end + 2):
            raise ValueError("The answer does not say where it ends.")
        # RFC 9112 7.1: the last chunk is empty. Answers here are short JSON, which has no line ends of its own.
        return self.received.endswith(b"\r\n0\r\n\r\n")


@dataclass
class Load:
    """A number of requests over a number of connections, each sending its next as soon as it is answered."""

    job: dict[str, Any]
    latencies: list[float] = field(init=False)  # in the order of the requests
    written: list[tuple[bytes, bytes]] = field(init=False)  # heads and bodies, before time runs
    wrong: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    answered: int = 0

    def __post_init__(self) -> None:
        count = self.job["requests"]
        self.latencies = [0.0] * count
        bodies = [body.encode() for body in self.job.get("bodies") or [self.job["body"]]]
        bodies = bodies if "bodies" in self.job else bodies * count
        self.written = [(self._head(number, len(bodies[number])).encode(), bodies[number]) for number in range(count)]

    def run(self) -> dict[str, Any]:
        address = ("127.0.0.1", self.job["port"])
        lines = [Line(socket.create_connection(address, ANSWER_SECONDS)) for _ in range(self.job["connections"])]
        begun_at, cpu_before = time.perf_counter(), time.process_time()
        with selectors.DefaultSelector() as selector:
            for line in lines:
                line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(line.sock, selectors.EVENT_READ, line)
                self._send_next(line)
            while self.answered < self.job["requests"]:
                ready = selector.select(ANSWER_SECONDS)
                if not ready:
                    raise TimeoutError(f"No answer in {ANSWER_SECONDS} s.")
                for key, _ in ready:
                    self._take(key.data)
        seconds, cpu_seconds = time.perf_counter() - begun_at, time.process_time() - cpu_before
        for line in lines:
            line.sock.close()
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "latencies": self.latencies, "wrong": self.wrong}

    def _take(self, line: Line) -> None:
        status = line.read()
        if status is None:
            return
        self.latencies[line.number] = time.perf_counter() - line.begun_at
        self.answered += 1
        if status != self.job["status"]:
            self.wrong[str(status)] = self.wrong.get(str(status), 0) + 1
        self._send_next(line)

    def _send_next(self, line: Line) -> None:
        if self.sent >= self.job["requests"]:
            return
        head, body = self.written[self.sent]
        line.number = self.sent
        self.sent += 1
        line.begun_at = time.perf_counter()
        line.sock.sendall(head + body)

    def _head(self, number: int, length: int) -> str:
        lines = [f"POST {self.job['path']} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        if "api_key" in self.job:
            lines.append(f"Authorization: Bearer {self.job['api_key']}")
        if "name" in self.job:
            lines.append(f"Idempotency-Key: {self.job['name']}-{number}")
        if self.job.get("is_forwarded"):
            # As a proxy would tell it: everybody calls from an address of their own.
            lines.append(f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
        return "\r\n".join([*lines, f"Content-Length: {length}", "\r\n"])


def post(**job: Any) -> dict[str, Any]:
    """Run one job in a new process; refuses to return figures of answers that are not what was asked for.

    A job has `port`, `path`, `requests`, `connections`, the `status` to expect and a `body`, or `bodies` with one for
    each request. With an `api_key`, a caller presents it; with a `name`, each request has an Idempotency-Key.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The load generator failed: {done.stderr.strip()[-500:]}")
    seen: dict[str, Any] = json.loads(done.stdout)
    if seen["wrong"]:
        raise RuntimeError(f"Some answers were not {job['status']}: {seen['wrong']}.")
    return seen


if __name__ == "__main__":
    print(json.dumps(Load(json.load(sys.stdin)).run()))
