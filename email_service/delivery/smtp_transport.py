"""The way out over SMTP, configured by Flask-Mail and held to its limits in time and use. Knows when a connection can
be used again; refuses to know queues, retries and what is inside a parcel.
"""

import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, cast

from flask_mail import Connection, Mail, Message, _Mail

from email_service.delivery import smtp_dialogue
from email_service.delivery.smtp_client import SmtpClient
from email_service.delivery.smtp_dialogue import Transaction
from email_service.delivery.smtp_wire import Attempt
from email_service.delivery.transport import Outcome, Parcel, Report, nothing_upcoming
from email_service.kernel import clock
from email_service.kernel.errors import SettingsError

CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """How long to wait, and how long to hold on to a connection."""

    timeout_seconds: float = 30  # for the connection, the handshake, each reply, each step of the content
    connection_max_messages: int = 100
    connection_max_age_seconds: float = 60
    attempt_max_seconds: float = 120  # for all of it together; a lease has to be longer


class SmtpConnection(Connection):
    """Flask-Mail's connection with what 0.10 leaves out: time-outs, certificates, strict STARTTLS, a deadline."""

    host: SmtpClient | None

    def __init__(self, mail: Mail | _Mail, limits: SmtpLimits, context: ssl.SSLContext) -> None:
        super().__init__(cast("Mail", mail))  # the state that Mail(app) registers is what Flask-Mail itself passes
        self._limits = limits
        self._context = context
        self._attempt = Attempt.lasting(0)
        self._opened_at_seconds = 0.0

    def open(self, attempt: Attempt) -> SmtpClient:
        """Connect for this attempt. Raises OSError, with the attempt's phase saying where."""
        self._attempt = attempt
        self.host = self.configure_host()
        self.num_emails = 0
        self._opened_at_seconds = clock.monotonic_seconds()
        return self.host

    def reused(self, attempt: Attempt) -> SmtpClient | None:
        """The open connection, unless it is too old, too used, or has died while it waited."""
        if self.host is None:
            return None
        self.host.attempt = attempt
        if self._is_old() or self.host.has_spoken():
            self.leave()
        return self.host

    def has_room(self) -> bool:
        """Whether one more message may follow the one that is on its way, and be begun behind its content."""
        is_pipelining = self.host is not None and "pipelining" in self.host.offers
        return is_pipelining and self.num_emails + 1 < self._limits.connection_max_messages and not self._is_old()

    def settle(self) -> None:
        """After a transaction: count it, and close what has served long enough or was closed by the other side."""
        self.num_emails += 1
        if self.host and (self.host.sock is None or self.num_emails >= self._limits.connection_max_messages):
            self.leave()

    def leave(self) -> None:
        """Say QUIT, wait a second at most, and close."""
        client, self.host = self.host, None
        if client is None:
            return
        client.attempt = Attempt.lasting(CLOSE_SECONDS)
        if client.sock is not None and not client.has_spoken():
            with suppress(OSError):  # the message's fate was settled before; how the parting goes changes nothing
                client.ask("QUIT")
        client.close()

    def drop(self) -> None:
        """Close without a word, where any word would be taken for content."""
        client, self.host = self.host, None
        if client is not None:
            client.close()

    def configure_host(self) -> SmtpClient:
        mail = self.mail
        client = SmtpClient(self._attempt, timeout_seconds=self._limits.timeout_seconds)
        try:
            default_port = smtplib.SMTP_SSL_PORT if mail.use_ssl else smtplib.SMTP_PORT
            client.open(mail.server, int(mail.port or default_port), self._context if mail.use_ssl else None)
            client.greet()
            if mail.use_tls and not mail.use_ssl:
                client.start_tls(self._context, mail.server)
                client.greet()
            # Flask-Mail's debug switch is left alone: it would print the credentials.
            if mail.username and mail.password:
                client.authenticate(mail.username, mail.password)
        except BaseException:  # bare re-raise: whatever it was, no socket stays open
            client.close()
            raise
        return client

    def send(self, message: Message, envelope_from: str | tuple[str, str] | None = None) -> NoReturn:
        """Flask-Mail's own way, without a deadline and blind to partial refusals, is shut."""
        raise NotImplementedError("Hand a Parcel to SmtpTransport.send instead.")

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _is_old(self) -> bool:
        return clock.monotonic_seconds() - self._opened_at_seconds >= self._limits.connection_max_age_seconds


class SmtpTransport:
    """A Transport over one SMTP connection; one instance serves one thread."""

    def __init__(
        self,
        mail: Mail | _Mail,
        limits: SmtpLimits | None = None,
        ca_file: Path | str | None = None,
        *,
        name: str = "smtp",
    ) -> None:
        self.name = name
        if not mail.server:
            raise SettingsError("MAIL_SERVER is not set, so there is no server to send through.")
        if mail.suppress:
            raise SettingsError("MAIL_SUPPRESS_SEND (which TESTING implies) is set: nothing would be sent over SMTP.")
        self._limits = limits or SmtpLimits()
        self._server = mail.server
        self._connection = SmtpConnection(mail, self._limits, verifying_context(ca_file))
        self._begun: Transaction | None = None  # the next parcel's, when it was begun behind a content

    def __repr__(self) -> str:
        return f"{type(self).__name__}(server={self._server!r})"

    def send(self, *, parcel: Parcel, upcoming: Callable[[], Parcel | None] = nothing_upcoming) -> Report:
        """Hand the parcel over. Raises InvalidInputError for an unfit parcel, and nothing for network or server."""
        if self._begun is None or not self._begun.is_of(parcel):
            smtp_dialogue.check(parcel)
        attempt = Attempt.lasting(self._limits.attempt_max_seconds)
        try:
            transaction, report = self._begin(parcel, attempt)
            if report is None:
                follows = upcoming if self._connection.has_room() else nothing_upcoming
                report, self._begun = transaction.finish(follows)
        except OSError as error:
            report = smtp_dialogue.of_failure(attempt, error)
        except BaseException:  # bare re-raise
            self._connection.drop()  # an answer to this parcel, still to come, must not be read by the next
            raise
        self._connection.settle()
        return report

    def knock(self) -> tuple[Report, datetime | None]:
        """Come as far as a message would be begun, and leave; what that came to, told in the furthest phase.

        Beside it, when the server's certificate ends; None in the clear, and where the server was not reached.
        """
        attempt = Attempt.lasting(self._limits.attempt_max_seconds)
        try:
            certificate_ends_at = self._connection.open(attempt).certificate_ends_at
        except OSError as error:
            return smtp_dialogue.of_failure(attempt, error), None
        self._connection.leave()
        return Report(outcome=Outcome.ACCEPTED, phase=attempt.phase), certificate_ends_at

    def close(self) -> None:
        if self._begun is None:
            self._connection.leave()
        else:
            self._begun = None
            self._connection.drop()

    def _begin(self, parcel: Parcel, attempt: Attempt) -> tuple[Transaction, Report | None]:
        """Say MAIL over the connection at hand, or over a new one when that turns out to have died in the meantime."""
        transaction = self._resume(parcel, attempt)
        if transaction is not None:
            try:
                report = transaction.begin()
            except OSError:
                report = None
            if transaction.is_open or (report and report.outcome is Outcome.REFUSED):
                return transaction, report
            self._connection.drop()
        transaction = Transaction.of(self._connection.open(attempt), parcel)
        return transaction, transaction.begin()

    def _resume(self, parcel: Parcel, attempt: Attempt) -> Transaction | None:
        """What was begun behind the content before this one, or else a new transaction; None without a connection."""
        begun, self._begun = self._begun, None
        if begun is not None:
            if begun.is_of(parcel):
                return begun.under(attempt)
            self._connection.drop()  # the server waits for a content that will not come
        client = self._connection.reused(attempt)
        return None if client is None else Transaction.of(client, parcel)


@lru_cache(maxsize=8)
def verifying_context(ca_file: Path | str | None) -> ssl.SSLContext:
    """A context that checks certificate and host name against the system's authorities and, if given, one's own.

    Reading the system's authorities takes 20 to 70 ms; threads share the result, which OpenSSL allows.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            raise SettingsError(f"MAIL_CA_FILE cannot be read as certificates: {error.strerror or error}.") from None
    return context
