"""A mail server that only takes: a process of its own, fast enough not to be what a benchmark measures.

Counts messages, notes when each Message-ID had its final dot, and can be slow or hold its breath on demand. Knows as
much SMTP as a sender needs to get rid of a message, and keeps none.
"""

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import processes

_GREETING = b"220 sink.invalid ESMTP\r\n"
_EXTENSIONS = b"250-sink.invalid\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_REPLIES = {b"EHLO": _EXTENSIONS, b"HELO": b"250 sink.invalid\r\n", b"QUIT": b"221 2.0.0 Bye\r\n"}
_END = b"\r\n.\r\n"
# The spelling that everybody uses is found without a pattern, which would cost more than all the rest of a message.
_USUAL_ID = b"\r\nMessage-ID: <"
_ANY_ID = re.compile(rb"\r\nmessage-id:\s*<([^>\r\n]+)>", re.IGNORECASE)
_RECEIVE_OCTETS = 1 << 18
_ORDERS = 0  # the file descriptor of standard input


@dataclass
class Taken:
    """What came in since the last reset."""

    messages: int = 0
    octets: int = 0
    connections: int = 0
    groups: int = 0  # replies that left in one piece; a sender waits for each of them
    first_at: float = 0.0  # the first connection, or the end of a hold; on the machine's monotonic clock
    last_at: float = 0.0
    moments: dict[str, float] = field(default_factory=dict)  # each Message-ID's last final dot

    def take(self, data: bytes, begin: int, end: int) -> None:
        self.messages += 1
        self.octets += end - begin
        self.last_at = time.monotonic()
        head_end = data.find(b"\r\n\r\n", begin, end)
        at = data.find(_USUAL_ID, begin, head_end)
        if at >= 0:
            at += len(_USUAL_ID)
            self.moments[data[at : data.index(b">", at)].decode()] = self.last_at
        elif found := _ANY_ID.search(data, begin, head_end):
            self.moments[found[1].decode()] = self.last_at

    def told(self) -> dict[str, Any]:
        return {**vars(self), "moments": None, "ids": len(self.moments)}


@dataclass(eq=False)
class Line:
    """One connection, and what it has said that is not yet a whole command or message."""

    sock: socket.socket
    rest: bytes = b""
    is_content: bool = False
    is_over: bool = False

    def replies_to(self, data: bytes, taken: Taken) -> bytes:
        """The replies to all whole commands and messages in it, as one piece: pipelined commands are due together."""
        data = self.rest + data if self.rest else data
        said, at = [], 0
        while True:
            end = data.find(_END if self.is_content else b"\r\n", at)
            if end < 0:
                break
            if self.is_content:
                # The line end of the DATA command stands before the content, so that an empty one ends like any other.
                taken.take(data, at, end)
                self.is_content, at = False, end + len(_END)
                said.append(b"250 2.0.0 Taken\r\n")
            elif (verb := data[at : at + 4].upper()) == b"DATA":
                self.is_content, at = True, end
                said.append(b"354 Go on\r\n")
            else:
                at = end + 2
                self.is_over = verb == b"QUIT"
                said.append(_REPLIES.get(verb, b"250 2.0.0 OK\r\n"))
        self.rest = data[at:]
        return b"".join(said)

    def say(self, replies: bytes) -> None:
        # A sender may be gone already, and replies are too short to fill any window.
        with suppress(OSError):
            self.sock.send(replies)


class Sink:
    """All connections, on one thread without a framework: asyncio takes 23 microseconds of CPU a message, this 13."""

    def __init__(self, port: int) -> None:
        self._door = socket.create_server(("127.0.0.1", port), backlog=512)
        self._poll = select.epoll()
        for number in (self._door.fileno(), _ORDERS):
            self._poll.register(number, select.EPOLLIN)
        self._lines: dict[int, Line] = {}
        self._later: deque[tuple[float, Line, bytes]] = deque()  # in the order in which they are due: all wait as long
        self._taken = Taken()
        self._delay_seconds = 0.0
        self._is_held = False

    def run(self) -> None:
        while True:
            for number, _ in self._poll.poll(self._patience()):
                if line := self._lines.get(number):
                    self._hear(line)
                elif number == self._door.fileno():
                    self._welcome()
                elif not self._obey():
                    return
            self._say_what_is_due()

    def _patience(self) -> float | None:
        if self._is_held or not self._later:
            return None
        # The kernel counts in milliseconds and epoll rounds up, so a reply is never early.
        return max(0.0, self._later[0][0] - time.monotonic())

    def _welcome(self) -> None:
        sock, _ = self._door.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = self._lines[sock.fileno()] = Line(sock)
        self._poll.register(sock.fileno(), select.EPOLLIN)
        self._taken.connections += 1
        self._taken.first_at = self._taken.first_at or time.monotonic()
        self._answer(line, _GREETING)

    def _hear(self, line: Line) -> None:
        try:
            data = line.sock.recv(_RECEIVE_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._part_from(line)
        elif replies := line.replies_to(data, self._taken):
            self._answer(line, replies)

    def _answer(self, line: Line, replies: bytes) -> None:
        if self._is_held or self._delay_seconds or self._later:
            self._later.append((time.monotonic() + self._delay_seconds, line, replies))
        else:
            self._say(line, replies)

    def _say_what_is_due(self) -> None:
        now = time.monotonic()
        while not self._is_held and self._later and self._later[0][0] <= now:
            _, line, replies = self._later.popleft()
            self._say(line, replies)

    def _say(self, line: Line, replies: bytes) -> None:
        self._taken.groups += 1
        line.say(replies)
        if line.is_over:
            self._part_from(line)

    def _part_from(self, line: Line) -> None:
        if self._lines.pop(line.sock.fileno(), None):
            self._poll.unregister(line.sock)
            line.sock.close()

    def _obey(self) -> bool:
        """Answer one order with one line of JSON; False when whoever gave orders is gone."""
        word, _, argument = os.read(_ORDERS, 1000).decode().strip().partition(" ")
        match word:
            case "":
                return False
            case "reset":
                self._taken = Taken()
            case "delay":
                self._delay_seconds = float(argument)
            case "hold":
                self._is_held = True
            case "go":
                self._is_held = False
                self._taken.first_at = time.monotonic()
        print(json.dumps(self._taken.moments if word == "moments" else self._taken.told()), flush=True)
        return True


@dataclass
class Handle:
    """A running sink, from the outside."""

    port: int
    process: subprocess.Popen[str]

    def ask(self, order: str) -> dict[str, Any]:
        """`reset`, `report`, `moments`, `delay SECONDS` (each reply leaves that late), `hold` (no reply until `go`)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(order, file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def cpu_seconds(self) -> float:
        return processes.cpu_seconds(self.process.pid)


@contextmanager
def running(folder: Path) -> Iterator[Handle]:
    port = processes.free_port()
    command = [sys.executable, str(Path(__file__).resolve()), str(port)]
    with processes.running(command, folder=folder, is_asked=True) as process:
        processes.wait_for_port(port, process)
        handle = Handle(port, process)
        handle.ask("reset")
        yield handle


if __name__ == "__main__":
    Sink(int(sys.argv[1])).run()
