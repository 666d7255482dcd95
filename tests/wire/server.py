"""A real SMTP server on loopback that does what its script says at each step: answers, lies, stalls, drips or hangs up.
It keeps every octet it was sent and refuses to know anything of the client under test.
"""

import base64
import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Self

from tests.wire.script import Conversation, Received, Script
from tests.wire.steps import Drop, Reply, Step


class SmtpServer:
    """Listens from `start` to `stop`; each connection has its own thread."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.received: list[Received] = []
        self.conversations: list[Conversation] = []
        self.lock = threading.Lock()
        self.is_stopping = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._taken: dict[str, int] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]

    @property
    def messages(self) -> list[Received]:
        """What the server took responsibility for."""
        with self.lock:
            return [message for message in self.received if message.is_accepted]

    @property
    def session_count(self) -> int:
        return len(self.conversations)

    @property
    def commands(self) -> list[str]:
        """All commands of all connections, in order of the connections."""
        return [command for conversation in self.conversations for command in conversation.commands]

    def is_silent_to(self, port: int) -> bool:
        """Whether the client at this port waits in vain."""
        with self.lock:
            return any(each.port == port and each.is_silent for each in self.conversations)

    def start(self) -> Self:
        thread = threading.Thread(target=self._listen, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def stop(self) -> None:
        self.is_stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def step(self, key: str) -> Step | None:
        """What the script wants at this point, if it wants anything."""
        steps = self.script.steps.get(key)
        if steps is None or not isinstance(steps, Sequence):
            return steps
        with self.lock:
            number = self._taken.get(key, 0)
            self._taken[key] = number + 1
        return steps[min(number, len(steps) - 1)]

    def _listen(self) -> None:
        while not self.is_stopping.is_set():
            try:
                sock, (_, port) = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = Conversation(port=port)
            thread = threading.Thread(target=_Session(self, sock, conversation).run, daemon=True)
            with self.lock:
                self._sockets.append(sock)
                self._threads.append(thread)
                self.conversations.append(conversation)
            thread.start()


class _HangupError(Exception):
    """The conversation is over."""


class _Session:
    def __init__(self, server: SmtpServer, sock: socket.socket, conversation: Conversation) -> None:
        self.server = server
        self.script = server.script
        self.sock = sock
        self.conversation = conversation
        self.pending = bytearray()
        self.answers = bytearray()  # corked
        self.mail_from: str | None = None
        self.rcpt_to: list[str] = []

    def run(self) -> None:
        with contextlib.suppress(OSError, _HangupError):
            if self.script.tls == "implicit":
                self.encrypt()
            self.answer("banner", "220 wire.example ESMTP")
            while True:
                self.obey(self.read_line().decode("utf-8", "surrogateescape"))
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def obey(self, command: str) -> None:
        self.conversation.commands.append(command)
        verb, _, argument = command.partition(" ")
        actions = {
            "EHLO": self.ehlo,
            "STARTTLS": self.starttls,
            "AUTH": self.auth,
            "MAIL": self.mail,
            "RCPT": self.rcpt,
        }
        actions |= {"DATA": self.data, "RSET": self.rset, "NOOP": self.noop, "QUIT": self.quit, "HELO": self.helo}
        action = actions.get(verb.upper())
        if action is None:
            self.write(b"500 5.5.2 unknown command\r\n")
        else:
            action(argument)

    def ehlo(self, _: str) -> None:
        lines = ["wire.example", *self.script.extensions]
        if self.script.tls == "starttls" and not self.conversation.is_encrypted:
            lines.append("STARTTLS")
        if self.script.credentials:
            lines.append(f"AUTH {self.script.mechanisms}")
        marks = ["-"] * (len(lines) - 1) + [" "]
        self.answer("ehlo", "\r\n".join(f"250{mark}{line}" for mark, line in zip(marks, lines, strict=True)))

    def helo(self, _: str) -> None:
        self.answer("helo", "250 wire.example")

    def starttls(self, _: str) -> None:
        if self.answer("starttls", "220 2.0.0 go ahead").startswith("220"):
            self.encrypt()

    def auth(self, argument: str) -> None:
        given = self.credentials_in(argument)
        is_right = given == self.script.credentials
        said = self.answer("auth", "235 2.7.0 welcome" if is_right else "535 5.7.8 authentication failed")
        self.conversation.is_authenticated = said.startswith("235")

    def credentials_in(self, argument: str) -> tuple[str, str]:
        mechanism, _, initial = argument.partition(" ")
        if mechanism == "PLAIN":
            _, user, password = base64.b64decode(initial or self.ask("334 ")).decode().split("\0")
            return user, password
        user = base64.b64decode(initial or self.ask("334 VXNlcm5hbWU6")).decode()
        return user, base64.b64decode(self.ask("334 UGFzc3dvcmQ6")).decode()

    def ask(self, challenge: str) -> bytes:
        self.write(challenge.encode() + b"\r\n")
        return self.read_line()

    def mail(self, argument: str) -> None:
        if self.script.credentials and not self.conversation.is_authenticated:
            self.write(b"530 5.7.0 Authentication required\r\n")
            return
        if self.answer("mail", "250 2.1.0 ok").startswith("2"):
            self.mail_from, self.rcpt_to = argument.split("<", 1)[1].split(">", 1)[0], []

    def rcpt(self, argument: str) -> None:
        if self.mail_from is None:
            self.write(b"503 5.5.1 MAIL first\r\n")
            return
        address = argument.split("<", 1)[1].split(">", 1)[0]
        key = f"rcpt:{address}" if f"rcpt:{address}" in self.script.steps else "rcpt"
        if self.answer(key, "250 2.1.5 ok").startswith("2"):
            self.rcpt_to.append(address)

    def data(self, _: str) -> None:
        if not self.rcpt_to and "data" not in self.script.steps:
            self.write(b"554 5.5.1 no valid recipients\r\n")
            return
        if not self.answer("data", "354 go on").startswith("354"):
            return
        self.answer("content", None)
        raw = self.read_content()
        content = raw[:-3].replace(b"\r\n..", b"\r\n.")
        received = Received(
            self.mail_from or "", self.rcpt_to, content[1:] if content.startswith(b"..") else content, raw
        )
        with self.server.lock:
            self.server.received.append(received)
        self.mail_from, self.rcpt_to = None, []
        self.answer("final", "250 2.0.0 queued", received)

    def rset(self, _: str) -> None:
        self.mail_from, self.rcpt_to = None, []
        self.answer("rset", "250 2.0.0 ok")

    def noop(self, _: str) -> None:
        self.answer("noop", "250 2.0.0 ok")

    def quit(self, _: str) -> None:
        self.answer("quit", "221 2.0.0 bye")
        raise _HangupError

    def answer(self, key: str, usual: str | None, received: Received | None = None) -> str:
        """Take the scripted step, else give the usual reply; what was said comes back."""
        step = self.server.step(key) or (Reply(usual) if usual else None)
        if step is None:
            return ""
        # Recorded before it is said: who reads the reply may look at once.
        if received and step.text.startswith("2"):
            received.is_accepted = True
        if step.is_last:
            self.flush()
        self.conversation.is_silent = step.is_silent
        step.perform(self.write, self.server.is_stopping)
        if step.is_last:
            self.flush()
            if isinstance(step, Drop) and step.is_abrupt:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raise _HangupError
        return step.text

    def encrypt(self) -> None:
        assert self.script.context
        self.sock = self.script.context.wrap_socket(self.sock, server_side=True)
        with self.server.lock:
            self.server._sockets.append(self.sock)
        self.conversation.is_encrypted = True
        self.pending.clear()

    def read_line(self) -> bytes:
        while b"\r\n" not in self.pending:
            self.receive()
        return self.take(self.pending.index(b"\r\n") + 2)[:-2]

    def read_content(self) -> bytes:
        """Up to CRLF dot CRLF and nothing else (RFC 5321 4.1.1.4); another line end is content."""
        searched = 0
        while not self.pending.startswith(b".\r\n"):
            end = self.pending.find(b"\r\n.\r\n", max(0, searched - 4))
            if end >= 0:
                return self.take(end + 5)
            searched = len(self.pending)
            self.receive()
        return self.take(3)

    def take(self, length: int) -> bytes:
        taken = bytes(self.pending[:length])
        del self.pending[:length]
        return taken

    def receive(self) -> None:
        self.flush()
        octets = self.sock.recv(65536)
        if not octets:
            raise _HangupError
        self.conversation.raw += octets
        self.conversation.segments.append(octets)
        self.pending += octets

    def write(self, octets: bytes) -> None:
        if self.script.is_corked:
            self.answers += octets
            return
        for start in range(0, len(octets), self.script.cut_octets or len(octets)):
            self.sock.sendall(octets[start : start + (self.script.cut_octets or len(octets))])

    def flush(self) -> None:
        answers, self.answers = bytes(self.answers), bytearray()
        if answers:
            self.sock.sendall(answers)
