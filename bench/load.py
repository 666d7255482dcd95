"""The load generator, a process of its own: keeps connections busy with one kind of request and times every answer.

Reads a job as JSON on standard input and writes what it saw as JSON. Does as little per request as a client can, so
that it takes little from the cores it shares with what it measures.
"""

import json
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 60


@dataclass
class Line:
    """One keep-alive connection with at most one request under way."""

    sock: socket.socket
    begun_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def read(self) -> int | None:
        """What has come; the status once the whole answer is here."""
        octets = self.sock.recv(65536)
        if not octets:
            raise ConnectionError("The server closed a connection that was to be kept.")
        self.received += octets
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return None
        self.received.clear()
        return int(head[9:12])


@dataclass
class Load:
    """A number of requests over a number of connections, each sending its next as soon as it is answered."""

    job: dict[str, Any]
    latencies: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    def run(self) -> dict[str, Any]:
        address = ("127.0.0.1", self.job["port"])
        lines = [Line(socket.create_connection(address, ANSWER_SECONDS)) for _ in range(self.job["connections"])]
        begun_at = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            for line in lines:
                line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(line.sock, selectors.EVENT_READ, line)
                self._send_next(line)
            while len(self.latencies) < self.job["requests"]:
                ready = selector.select(ANSWER_SECONDS)
                if not ready:
                    raise TimeoutError(f"No answer in {ANSWER_SECONDS} s.")
                for key, _ in ready:
                    self._take(key.data)
        seconds = time.perf_counter() - begun_at
        for line in lines:
            line.sock.close()
        return {"seconds": seconds, "latencies": self.latencies, "wrong": self.wrong}

    def _take(self, line: Line) -> None:
        status = line.read()
        if status is None:
            return
        self.latencies.append(time.perf_counter() - line.begun_at)
        if status != self.job["status"]:
            self.wrong[str(status)] = self.wrong.get(str(status), 0) + 1
        self._send_next(line)

    def _send_next(self, line: Line) -> None:
        if self.sent >= self.job["requests"]:
            return
        body = self.job["body"].encode()
        head = (
            f"POST {self.job['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.job['api_key']}\r\nIdempotency-Key: {self.job['name']}-{self.sent}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.sent += 1
        line.begun_at = time.perf_counter()
        line.sock.sendall(head.encode() + body)


def post(**job: Any) -> dict[str, Any]:
    """Run one job in a new process; refuses to return figures of answers that are not what was asked for."""
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
