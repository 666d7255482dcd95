"""An SMTP connection from its banner to the point where mail can be said: greeting, verified TLS, login, and no word of
its credentials in anything it says. Knows no parcel, no retry and no Flask.
"""

import base64
import re
import smtplib
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address

from email_service.delivery.smtp_reply import Reply
from email_service.delivery.smtp_wire import SmtpWire
from email_service.delivery.transport import Phase

_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


class SmtpClient(SmtpWire):
    """Raises OSError only; whatever raised, the connection is closed then."""

    @property
    def offers(self) -> Mapping[str, str]:
        """What the server said it can do (RFC 5321 4.1.1.1), in lower case, each with its parameters."""
        return self.esmtp_features

    @property
    def certificate_ends_at(self) -> datetime | None:
        """Until when the server's certificate is good; None in the clear."""
        certificate = self.sock.getpeercert() if isinstance(self.sock, ssl.SSLSocket) else None
        if not certificate:
            return None
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)

    def open(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        """Connect and read the banner; with a context, inside TLS from the first octet (RFC 8314)."""
        self.attempt.phase = Phase.CONNECT
        try:
            sock = self.connect_to(host, port)
        except UnicodeError:
            raise smtplib.SMTPException("The mail server's name is not a host name.") from None
        self.local_hostname = _own_name(sock)
        if context is not None:
            self.encrypt(context, host)
        reply = self.reply()
        if reply.code != 220:  # noqa: PLR2004 - RFC 5321 4.3.2
            self.close()
            raise smtplib.SMTPConnectError(reply.code, reply.text)

    def greet(self) -> None:
        """EHLO, and HELO for a server that knows no better."""
        code, text = self.ehlo()
        if Reply(code, "").is_permanent:
            code, text = self.helo()
        reply = self.kept(code, text)
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
        self.refuse_chatter()
        self.encrypt(context, host)
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
        return self.kept(*self.docmd(command, argument))

    def _log_in(self, mechanism: str, answers: list[str]) -> Reply:
        initial = f" {answers[0]}" if mechanism == "PLAIN" else ""
        reply = self.ask("AUTH", mechanism + initial)
        for answer in answers:
            if reply.code != 334:  # noqa: PLR2004 - RFC 4954 4
                break
            reply = self.ask(answer)
        return reply


def _own_name(sock: socket.socket) -> str:
    """What to call ourselves in EHLO: a full host name, else the address literal of RFC 5321 4.1.3."""
    name = socket.gethostname()
    if _HOST_NAME.fullmatch(name):
        return name
    address = ip_address(sock.getsockname()[0].partition("%")[0])
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"


def _in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
