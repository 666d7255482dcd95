"""A mail server for the faults: speaks PIPELINING, counts copies by Message-ID, and asks a rule at each step.

It keeps digests instead of contents, so that thousands of messages cost nothing, and knows nothing of the service.
"""

import re
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic
from typing import Self

from tests.wire.steps import Reply, Step

GREETING = "220 sink.example ESMTP"
EXTENSIONS = "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 SMTPUTF8"
TAKEN = "250 2.0.0 taken"
_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*(<[^>\r\n]+>)")
_USUAL = {"mail": "250 2.1.0 ok", "rcpt": "250 2.1.5 ok", "data": "354 go on", "rset": "250 2.0.0 ok"}


@dataclass(frozen=True)
class Moment:
    """Where a conversation stands when the rule is asked. The phases are banner, ehlo, mail, rcpt, data, content
    (354 was said, nothing of it is read), final and rset."""

    phase: str
    recipient: str = ""
    message_id: str = ""
    copy: int = 0  # at `final`: which copy of this Message-ID it is, counted from 1
    port: int = 0  # of the sender's end


Rule = Callable[[Moment], Step | None]


@dataclass(frozen=True)
class Copy:
    """One message that the sink took responsibility for."""

    digest: str
    recipient: str
    at: float  # on the machine's monotonic clock


@dataclass(frozen=True)
class TakenAndSilent(Step):
    """The message is taken, and the line goes dead before anybody is told."""

    text: str = "2"
    is_last: bool = True

    def perform(self, write: object, is_stopping: threading.Event) -> None:
        """Nothing is said."""


def usual(_: Moment) -> Step | None:
    return None


@dataclass
class Sink:
    """Listens from `start` to `stop`; `rule` may be changed at any time."""

    rule: Rule = usual
    copies: dict[str, list[Copy]] = field(default_factory=lambda: defaultdict(list))
    connections: Counter[str] = field(default_factory=Counter)  # `opened`
    is_stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Reset every connection at once."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.shutdown(socket.SHUT_RDWR)

    def count(self, message_id: str) -> int:
        with self._lock:
            return len(self.copies.get(message_id, ()))

    def taken(self) -> dict[str, list[Copy]]:
        """All copies by Message-ID, as they are now."""
        with self._lock:
            return {message_id: list(copies) for message_id, copies in self.copies.items()}

    def settings(self) -> dict[str, str]:
        """What points an installation at this server."""
        sender = "Acme <mail@acme.example>"
        return {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(self.port), "MAIL_DEFAULT_SENDER": sender}

    def note(self, message_id: str, copy: Copy) -> None:
        with self._lock:
            self.copies[message_id].append(copy)

    def _listen(self) -> None:
        while not self.is_stopping.is_set():
            try:
                sock, (_, port) = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets.add(sock)
                self.connections["opened"] += 1
            threading.Thread(target=self._converse, args=[sock, port], daemon=True).start()

    def _converse(self, sock: socket.socket, port: int) -> None:
        with suppress(OSError, _HangupError):
            _Line(self, sock, port).run()
        with self._lock:
            self._sockets.discard(sock)
        sock.close()


class _HangupError(Exception):
    """The conversation is over."""


class _Line:
    """One connection."""

    def __init__(self, sink: Sink, sock: socket.socket, port: int) -> None:
        self.sink, self.sock, self.port = sink, sock, port
        self.pending = bytearray()
        self.recipient = ""

    def run(self) -> None:
        self.do("banner", GREETING)
        while True:
            command = self.read_until(b"\r\n").decode("utf-8", "surrogateescape")
            verb = command[:4].upper()
            if verb == "QUIT":
                self.write(b"221 2.0.0 bye\r\n")
                raise _HangupError
            if verb in {"EHLO", "HELO"}:
                self.do("ehlo", EXTENSIONS)
            elif verb == "DATA":
                self.data()
            else:
                if verb == "RCPT":
                    self.recipient = command.split("<", 1)[1].split(">", 1)[0]
                self.do(verb.lower(), _USUAL.get(verb.lower(), "250 2.0.0 ok"))

    def data(self) -> None:
        if not self.do("data", "354 go on").startswith("354"):
            return
        self.do("content", "")
        content = self.read_until(b"\r\n.\r\n")
        found = _MESSAGE_ID.search(content)
        message_id = found[1].decode() if found else ""
        copy = Copy(sha256(content).hexdigest(), self.recipient, monotonic())
        step = self.ask("final", message_id, self.sink.count(message_id) + 1) or Reply(TAKEN)
        # Noted before it is said: who hears the reply may look at once.
        if step.text.startswith("2"):
            self.sink.note(message_id, copy)
        self.perform(step)

    def do(self, phase: str, usually: str) -> str:
        """Take the rule's step, else give the usual reply; what was said comes back."""
        step = self.ask(phase)
        if step is None and not usually:
            return ""
        step = step or Reply(usually)
        self.perform(step)
        return step.text

    def ask(self, phase: str, message_id: str = "", copy: int = 0) -> Step | None:
        return self.sink.rule(Moment(phase, self.recipient, message_id, copy, self.port))

    def perform(self, step: Step) -> None:
        step.perform(self.write, self.sink.is_stopping)
        if step.is_last:
            raise _HangupError

    def write(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def read_until(self, end: bytes) -> bytes:
        searched = 0
        while (at := self.pending.find(end, searched)) < 0:
            searched = max(0, len(self.pending) - len(end))
            octets = self.sock.recv(1 << 18)
            if not octets:
                raise _HangupError
            self.pending += octets
        taken = bytes(self.pending[:at])
        del self.pending[: at + len(end)]
        return taken
