"""A mail server that only takes: a process of its own, fast enough not to be what a benchmark measures.

Counts messages and their distinct Message-IDs and notes when the first connection and the last message came. A line on
standard input (`reset`, `report`, `delay SECONDS`) is answered with a line of JSON.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import processes

_EXTENSIONS = b"250-sink.invalid\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_END = b"\r\n.\r\n"
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]+>)", re.IGNORECASE | re.MULTILINE)
_REPLIES = {b"EHLO": _EXTENSIONS, b"HELO": b"250 sink.invalid\r\n", b"QUIT": b"221 2.0.0 Bye\r\n"}


@dataclass
class Taken:
    """What came in since the last reset."""

    messages: int = 0
    octets: int = 0
    connections: int = 0
    first_at: float = 0.0  # on the machine's monotonic clock
    last_at: float = 0.0
    ids: set[bytes] = field(default_factory=set)

    def take(self, content: bytes) -> None:
        self.messages += 1
        self.octets += len(content)
        self.last_at = time.monotonic()
        found = _MESSAGE_ID.search(content, 0, content.find(b"\r\n\r\n") + 2)
        if found:
            self.ids.add(found[1])

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "ids": len(self.ids)}


class Sink:
    """What all connections share."""

    def __init__(self) -> None:
        self.taken = Taken()
        self.delay_seconds = 0.0

    def obey(self, line: str) -> str:
        word, _, argument = line.strip().partition(" ")
        if word == "reset":
            self.taken = Taken()
        elif word == "delay":
            self.delay_seconds = float(argument)
        return json.dumps(self.taken.told())


class Dialogue(asyncio.Protocol):
    """One connection; takes pipelined commands as they come."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._received = bytearray()
        self._is_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        taken = self._sink.taken
        taken.connections += 1
        taken.first_at = taken.first_at or time.monotonic()
        self._say(b"220 sink.invalid ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._take_content() if self._is_content else self._take_command():
            pass

    def _take_content(self) -> bool:
        # The line end of the DATA command stands before the content, so that an empty one ends like any other.
        end = self._received.find(_END)
        if end < 0:
            return False
        self._sink.taken.take(bytes(self._received[2 : end + 2]))
        del self._received[: end + len(_END)]
        self._is_content = False
        self._say(b"250 2.0.0 Taken\r\n")
        return True

    def _take_command(self) -> bool:
        end = self._received.find(b"\r\n")
        if end < 0:
            return False
        verb = bytes(self._received[:4]).upper()
        if verb == b"DATA":
            del self._received[:end]
            self._is_content = True
            self._say(b"354 Go on\r\n")
            return True
        del self._received[: end + 2]
        self._say(_REPLIES.get(verb, b"250 2.0.0 OK\r\n"), is_last=verb == b"QUIT")
        return True

    def _say(self, reply: bytes, *, is_last: bool = False) -> None:
        if self._sink.delay_seconds:
            asyncio.get_running_loop().call_later(self._sink.delay_seconds, self._write, reply, is_last)
        else:
            self._write(reply, is_last)

    def _write(self, reply: bytes, is_last: bool) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)
            if is_last:
                self._transport.close()


async def serve(port: int) -> None:
    loop, sink = asyncio.get_running_loop(), Sink()
    await loop.create_server(lambda: Dialogue(sink), "127.0.0.1", port, backlog=512)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        print(sink.obey(line.decode()), flush=True)


@dataclass
class Handle:
    """A running sink, from the outside."""

    port: int
    process: subprocess.Popen[str]

    def ask(self, order: str) -> dict[str, Any]:
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
    asyncio.run(serve(int(sys.argv[1])))
