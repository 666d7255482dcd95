"""The octets of one SMTP connection, with a deadline under each read and write and a bound on each reply. Knows
sockets, TLS and what a reply's lines look like; refuses to know which command a reply answers.
"""

import math
import select
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, Self

from email_service.delivery.smtp_reply import Reply
from email_service.delivery.transport import Phase
from email_service.kernel import clock

MAX_LINE_OCTETS = 8192  # sixteen times what RFC 5321 4.5.3.1.5 allows
MAX_REPLY_OCTETS = 65536  # all lines of one reply
PIECE_OCTETS = 65536  # what one wait for the peer's window may cover
# One TLS record: it is of use to the peer whole or not at all. When a write of several records stops between two of
# them, nobody tells how many were gone, and the final dot may have been in one of those.
_RECORD_OCTETS = 16384
_RECEIVE_OCTETS = 4096
_CODES = {b"%d" % code: code for code in range(200, 600)}
_CLOSING = 421  # RFC 5321 3.8: said at any time, before the server closes the connection
_MARKS = frozenset({b" ", b"-", b"\n"})  # what may follow a code, a carriage return apart


@dataclass(slots=True)
class Attempt:
    """The time that one hand-over may take, and how far it came."""

    ends_at_seconds: float  # on the monotonic clock
    phase: Phase = Phase.PREPARE
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def lasting(cls, seconds: float) -> Self:
        return cls(clock.monotonic_seconds() + seconds)


class SmtpWire(smtplib.SMTP):
    """Raises OSError only (smtplib's exceptions are among them); whatever raised, the connection is closed then.

    Once connected the socket never blocks. Its own time-outs would cost a system call each time one is set.
    """

    def __init__(self, attempt: Attempt, *, timeout_seconds: float) -> None:
        # A name given here keeps smtplib from asking the resolver for one, which nothing bounds.
        super().__init__(local_hostname="localhost", timeout=timeout_seconds)
        self.sock: socket.socket | None = None
        self.file = None
        self.attempt = attempt
        self._received = b""
        self._secrets: tuple[str, ...] = ()
        self._is_encrypted = False
        self._readable = select.poll()

    def connect_to(self, host: str, port: int) -> socket.socket:
        """Connect to the first address that answers; the resolver's own time-out is the system's business."""
        self._received = b""
        sock = self._first_to_answer(host, port)
        # A command or the end of a content goes out at once; Nagle's algorithm would hold it back for a delayed
        # acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._hold(sock)
        return sock

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Say everything from here on inside TLS, to a server that proved its name."""
        self.attempt.phase = Phase.TLS
        sock = self._socket()
        try:
            sock.settimeout(self._seconds_until(clock.monotonic_seconds() + self.timeout))
            self._hold(context.wrap_socket(sock, server_hostname=host))
        except OSError:
            self.close()
            raise
        self._is_encrypted = True

    def reply(self) -> Reply:
        """Read the reply to what was sent."""
        return self.kept(*self.getreply())

    def kept(self, code: int, words: bytes) -> Reply:
        """The reply as it can be stored and shown."""
        return Reply.read(code, words, self._secrets)

    def has_spoken(self) -> bool:
        """Whether anything arrived that no command asked for; the end of the connection counts."""
        if self._received or self.sock is None:
            return True
        if not self._is_encrypted and not self._readable.poll(0):
            return False
        try:
            self._received += self.sock.recv(_RECEIVE_OCTETS)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def refuse_chatter(self) -> None:
        """Hang up when a reply is there before its command.

        It would be taken for the answer to that command, and sooner or later a 250 for the message's.
        """
        if not self.has_spoken():
            return
        reply = self.reply()  # raises when what arrived was the end
        self.close()
        if reply.code == _CLOSING:
            raise smtplib.SMTPResponseException(reply.code, reply.text)
        raise smtplib.SMTPServerDisconnected(f"The server spoke out of turn: {reply.code} {reply.text[:100]}")

    def say(self, commands: bytes) -> None:
        """Send one or more whole commands, when nothing is left over from those before."""
        self.refuse_chatter()
        self.send(commands)

    def putcmd(self, cmd: str, args: str = "") -> None:
        self.refuse_chatter()
        super().putcmd(cmd, args)

    def send(self, s: Any) -> None:
        """Send all of it, waiting for the peer's window no longer than the time-out each time."""
        self._push(s.encode(self.command_encoding) if isinstance(s, str) else s)

    def send_end(self, octets: bytes, following: bytes) -> None:
        """Send the end of a content, its final dot included, and in the same write the commands that follow it.

        The phase is FINAL from when the system took the dot.
        """
        self._push(octets + following, len(octets))

    def getreply(self) -> tuple[int, bytes]:
        """One whole reply within the time-out, however slowly it drips; an endless one is cut, and we hang up."""
        line, end, rest = self._received.partition(b"\n")
        code = _CODES.get(line[:3])
        if end and code is not None and code != _CLOSING and line[3:4] == b" ":
            self._received = rest
            return code, line[4:].strip()
        return self._read_reply(self._reply_ends_at_seconds())

    def close(self) -> None:
        self._received = b""
        super().close()

    def _first_to_answer(self, host: str, port: int) -> socket.socket:
        failure = OSError("The mail server's name has no address.")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._seconds_until(clock.monotonic_seconds() + self.timeout))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _hold(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._readable = _poll_for(sock, select.POLLIN)

    def _push(self, octets: bytes | memoryview, dot_end: int = 0) -> None:
        sent, size = 0, len(octets)
        piece_octets = _RECORD_OCTETS if self._is_encrypted else PIECE_OCTETS
        try:
            while sent < size:
                is_whole = not sent and size <= piece_octets
                sent += self._send_some(octets if is_whole else memoryview(octets)[sent : sent + piece_octets])
                if 0 < dot_end <= sent:
                    self.attempt.phase = Phase.FINAL
        except OSError as error:
            if isinstance(error, TimeoutError) and self.attempt.phase is not Phase.FINAL:
                self.close()
                raise
            self._raise_last_words(error)

    def _send_some(self, piece: bytes | memoryview) -> int:
        sock = self._socket()
        while True:
            try:
                return sock.send(piece)
            except (BlockingIOError, ssl.SSLWantWriteError):
                poll = _poll_for(sock, select.POLLOUT)
            except ssl.SSLWantReadError:
                poll = self._readable
            self._wait(poll, clock.monotonic_seconds() + self.timeout)

    def _reply_ends_at_seconds(self) -> float:
        # A server may check the content before it answers the dot (RFC 5321 4.5.3.2.6 allows it ten minutes), and
        # giving up leaves the outcome open: that wait alone takes all the time there is.
        if self.attempt.phase is Phase.FINAL:
            return self.attempt.ends_at_seconds
        return clock.monotonic_seconds() + self.timeout

    def _read_reply(self, until_seconds: float) -> tuple[int, bytes]:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._read_line(until_seconds)
            size += len(line)
            code = _CODES.get(line[:3])
            mark = line[3:4]
            if code is None or (mark not in _MARKS and line[3:] != b"\r\n"):
                self.close()
                raise smtplib.SMTPServerDisconnected(f"The server does not speak SMTP: {self.kept(0, line).text[:100]}")
            lines.append(line[4:].strip())
            is_endless = not line.endswith(b"\n") or size > MAX_REPLY_OCTETS
            if is_endless or mark != b"-":
                break
        if is_endless or code == _CLOSING:
            self.close()
        return code, b"\n".join(lines)

    def _read_line(self, until_seconds: float) -> bytes:
        """Up to a line end, or as much as a line may have."""
        received = self._received
        while (end := received.find(b"\n")) < 0 and len(received) < MAX_LINE_OCTETS:
            received += self._receive(until_seconds)
        length = end + 1 if end >= 0 else MAX_LINE_OCTETS
        self._received = received[length:]
        return received[:length]

    def _receive(self, until_seconds: float) -> bytes:
        sock = self._socket()
        # A plain socket is asked after the wait, for the answer is seldom there yet. What TLS holds, decrypted, no
        # wait can see.
        is_due = self._is_encrypted
        try:
            while True:
                if not is_due:
                    self._wait(self._readable, until_seconds)
                try:
                    octets = sock.recv(_RECEIVE_OCTETS)
                    break
                except (BlockingIOError, ssl.SSLWantReadError):
                    is_due = False
        except OSError:
            self.close()
            raise
        if not octets:
            self.close()
            raise smtplib.SMTPServerDisconnected("The server closed the connection.")
        return octets

    def _wait(self, poll: select.poll, until_seconds: float) -> None:
        if not poll.poll(math.ceil(self._seconds_until(until_seconds) * 1000)):
            raise TimeoutError("timed out")

    def _seconds_until(self, until_seconds: float) -> float:
        """What is left until then, or until the attempt has to end."""
        seconds = min(until_seconds, self.attempt.ends_at_seconds) - clock.monotonic_seconds()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds

    def _socket(self) -> socket.socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("The connection is closed.")
        return self.sock

    def _raise_last_words(self, error: OSError) -> None:
        """A server that closes on us often says why first; prefer that to a bare broken pipe.

        Behind the final dot it says what became of the message, though the commands that followed it were cut off.
        """
        reply = self.reply()
        self.close()
        raise smtplib.SMTPResponseException(reply.code, reply.text) from error


def _poll_for(sock: socket.socket, event: int) -> select.poll:
    poll = select.poll()
    poll.register(sock, event)
    return poll
