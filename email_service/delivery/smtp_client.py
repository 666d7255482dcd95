"""One SMTP connection whose every wait ends: smtplib with a deadline under each read and write, verified TLS, bounded
replies and no word of its credentials in anything it says. Knows no parcel, no retry and no Flask.
"""

import base64
import re
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Any, Self

from email_service.delivery.smtp_reply import Reply
from email_service.delivery.transport import Phase
from email_service.kernel import clock

MAX_LINE_OCTETS = 8192  # sixteen times what RFC 5321 4.5.3.1.5 allows
MAX_REPLY_OCTETS = 65536  # all lines of one reply
_SEND_OCTETS = 65536  # what one wait for the peer's window may cover
_RECEIVE_OCTETS = 4096
_CODE = re.compile(rb"([2-5][0-9]{2})(?:[ -]|\r?\n)")
_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


@dataclass(slots=True)
class Attempt:
    """The time that one hand-over may take, and how far it came."""

    ends_at_seconds: float  # on the monotonic clock
    phase: Phase = Phase.PREPARE
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def lasting(cls, seconds: float) -> Self:
        return cls(clock.monotonic_seconds() + seconds)


class SmtpClient(smtplib.SMTP):
    """Raises OSError only (smtplib's exceptions are among them); whatever raised, the connection is closed then."""

    def __init__(self, attempt: Attempt, *, timeout_seconds: float) -> None:
        # A name given here keeps smtplib from asking the resolver for one, which nothing bounds.
        super().__init__(local_hostname="localhost", timeout=timeout_seconds)
        self.sock: socket.socket | None = None
        self.file = None
        self.attempt = attempt
        self._received = bytearray()
        self._secrets: tuple[str, ...] = ()

    def open(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        """Connect and read the banner; with a context, inside TLS from the first octet (RFC 8314)."""
        self.attempt.phase = Phase.CONNECT
        self._received.clear()
        try:
            self.sock = self._connected(host, port)
        except UnicodeError:
            raise smtplib.SMTPException("The mail server's name is not a host name.") from None
        # The final dot goes out alone: Nagle's algorithm would hold it back for a delayed acknowledgement.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local_hostname = _own_name(self.sock)
        if context is not None:
            self._wrap(context, host)
        reply = self.reply()
        if reply.code != 220:  # noqa: PLR2004 - RFC 5321 4.3.2
            self.close()
            raise smtplib.SMTPConnectError(reply.code, reply.text)

    def greet(self) -> None:
        """EHLO, and HELO for a server that knows no better."""
        code, text = self.ehlo()
        if Reply(code, "").is_permanent:
            code, text = self.helo()
        reply = Reply.read(code, text, self._secrets)
        if not reply.is_positive:
            raise smtplib.SMTPHeloError(reply.code, reply.text)

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt, or raise before another word is said (CVE-2016-0772)."""
        self.attempt.phase = Phase.TLS
        if not self.has_extn("starttls"):
            self.close()
            raise smtplib.SMTPNotSupportedError("The server does not offer STARTTLS.")
        reply = self.ask("STARTTLS")
        if reply.code != 220:  # noqa: PLR2004 - RFC 3207 4
            self.close()
            raise smtplib.SMTPResponseException(reply.code, reply.text)
        # Plain text behind the 220 would be read as if it had come encrypted (CVE-2011-0411, seen from this side).
        self._refuse_chatter()
        self._wrap(context, host)
        self.esmtp_features = {}
        self.ehlo_resp = self.helo_resp = None
        self.does_esmtp = False

    def authenticate(self, username: str, password: str) -> None:
        """AUTH PLAIN or LOGIN, in UTF-8 (RFC 4616)."""
        self.attempt.phase = Phase.AUTH
        plain, user, secret = (_in_base64(text) for text in (f"\0{username}\0{password}", username, password))
        self._secrets = (plain, secret, user, password)
        answers = {"PLAIN": [plain], "LOGIN": [user, secret]}
        offered = self.esmtp_features.get("auth", "").upper().split()
        known = [mechanism for mechanism in answers if mechanism in offered]
        if not known:
            self.close()
            raise smtplib.SMTPNotSupportedError("The server offers neither AUTH PLAIN nor AUTH LOGIN.")
        for mechanism in known:
            reply = self._log_in(mechanism, answers[mechanism])
            if reply.code == 235:  # noqa: PLR2004 - RFC 4954 6
                return
            # Any other answer is about the credentials, and each further try would count against the account.
            if reply.code != 504:  # noqa: PLR2004 - "mechanism not supported", RFC 4954 6
                break
        self.close()
        raise smtplib.SMTPAuthenticationError(reply.code, reply.text)

    def ask(self, command: str, argument: str = "") -> Reply:
        """Say one command and read its reply."""
        return Reply.read(*self.docmd(command, argument), self._secrets)

    def reply(self) -> Reply:
        """Read the reply to what was sent."""
        return Reply.read(*self.getreply(), self._secrets)

    def has_spoken(self) -> bool:
        """Whether anything arrived that no command asked for; the end of the connection counts."""
        if self._received or self.sock is None:
            return True
        self.sock.settimeout(0)
        try:
            self._received += self.sock.recv(_RECEIVE_OCTETS)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def putcmd(self, cmd: str, args: str = "") -> None:
        # A reply sent ahead of its command would be taken for the answer to this one, and 250 for the message's.
        self._refuse_chatter()
        super().putcmd(cmd, args)

    def send(self, s: Any) -> None:
        """Send all of it, waiting for the peer's window no longer than the time-out each time."""
        view = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else s)
        sock = self._socket()
        try:
            while view:
                self._limit_wait(sock, clock.monotonic_seconds() + self.timeout)
                view = view[sock.send(view[:_SEND_OCTETS]) :]
        except TimeoutError:
            self.close()
            raise
        except OSError as error:
            self._raise_last_words(error)

    def getreply(self) -> tuple[int, bytes]:
        """One whole reply within the time-out, however slowly it drips; an endless one is cut, and we hang up."""
        begun_at_seconds = clock.monotonic_seconds()
        # A server may check the content before it answers the dot (RFC 5321 4.5.3.2.6 allows it ten minutes), and
        # giving up leaves the outcome open: that wait alone takes all the time there is.
        is_final = self.attempt.phase is Phase.FINAL
        until_seconds = self.attempt.ends_at_seconds if is_final else begun_at_seconds + self.timeout
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._read_line(until_seconds)
            size += len(line)
            code = _CODE.match(line)
            if code is None:
                self.close()
                raise smtplib.SMTPServerDisconnected(f"The server does not speak SMTP: {self._shown(line)}")
            lines.append(line[4:].strip())
            is_endless = not line.endswith(b"\n") or size > MAX_REPLY_OCTETS
            if is_endless or line[3:4] != b"-":
                break
        if is_endless or code[1] == b"421":
            self.close()
        return int(code[1]), b"\n".join(lines)

    def close(self) -> None:
        self._received.clear()
        super().close()

    def _log_in(self, mechanism: str, answers: list[str]) -> Reply:
        initial = f" {answers[0]}" if mechanism == "PLAIN" else ""
        reply = self.ask("AUTH", mechanism + initial)
        for answer in answers:
            if reply.code != 334:  # noqa: PLR2004 - RFC 4954 4
                break
            reply = self.ask(answer)
        return reply

    def _connected(self, host: str, port: int) -> socket.socket:
        """A socket to the first address that answers; the resolver's own time-out is the system's business."""
        failure = OSError("The mail server's name has no address.")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                self._limit_wait(sock, clock.monotonic_seconds() + self.timeout)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _wrap(self, context: ssl.SSLContext, host: str) -> None:
        self.attempt.phase = Phase.TLS
        sock = self._socket()
        try:
            self._limit_wait(sock, clock.monotonic_seconds() + self.timeout)
            self.sock = context.wrap_socket(sock, server_hostname=host)
        except OSError:
            self.close()
            raise

    def _read_line(self, until_seconds: float) -> bytes:
        """Up to a line end, or as much as a line may have."""
        while (end := self._received.find(b"\n")) < 0 and len(self._received) < MAX_LINE_OCTETS:
            self._received += self._receive(until_seconds)
        length = end + 1 if end >= 0 else MAX_LINE_OCTETS
        line = bytes(self._received[:length])
        del self._received[:length]
        return line

    def _receive(self, until_seconds: float) -> bytes:
        sock = self._socket()
        try:
            self._limit_wait(sock, until_seconds)
            octets = sock.recv(_RECEIVE_OCTETS)
        except OSError:
            self.close()
            raise
        if not octets:
            self.close()
            raise smtplib.SMTPServerDisconnected("The server closed the connection.")
        return octets

    def _limit_wait(self, sock: socket.socket, until_seconds: float) -> None:
        """Let the next call on the socket wait until then, or until the attempt has to end."""
        seconds = min(until_seconds, self.attempt.ends_at_seconds) - clock.monotonic_seconds()
        if seconds <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(seconds)

    def _socket(self) -> socket.socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("The connection is closed.")
        return self.sock

    def _refuse_chatter(self) -> None:
        if self._received:
            said = self._shown(bytes(self._received))
            self.close()
            raise smtplib.SMTPServerDisconnected(f"The server spoke out of turn: {said}")

    def _shown(self, octets: bytes) -> str:
        return Reply.read(0, octets, self._secrets).text[:100]

    def _raise_last_words(self, error: OSError) -> None:
        """A server that closes on us often says why first; prefer that to a bare broken pipe."""
        reply = self.reply()
        self.close()
        raise smtplib.SMTPResponseException(reply.code, reply.text) from error


def _own_name(sock: socket.socket) -> str:
    """What to call ourselves in EHLO: a full host name, else the address literal of RFC 5321 4.1.3."""
    name = socket.gethostname()
    if _HOST_NAME.fullmatch(name):
        return name
    address = ip_address(sock.getsockname()[0].partition("%")[0])
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"


def _in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
