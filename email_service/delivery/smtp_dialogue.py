"""One mail transaction, group by group, and what each answer means for the parcel. Knows RFC 5321 and how far it came;
refuses to know how the connection was made or whether it will be used again.
"""

import io
import ssl
from collections.abc import Callable
from contextlib import suppress
from smtplib import SMTPResponseException
from typing import Self

from email_service.delivery.smtp_client import SmtpClient
from email_service.delivery.smtp_envelope import Envelope, Step, envelope_of
from email_service.delivery.smtp_reply import Reply, printable
from email_service.delivery.smtp_wire import PIECE_OCTETS, Attempt
from email_service.delivery.transport import Outcome, Parcel, Phase, Report
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.headers import check_address

_FAULT_PHASES = frozenset({Phase.PREPARE, Phase.CONNECT, Phase.TLS, Phase.AUTH})
# "Authentication required" and its kin (RFC 4954 6), said anywhere before the content: not the message's fault.
_AUTH_CODES = frozenset({530, 534, 535, 538})
_START_INPUT = 354  # RFC 5321 4.3.2, the only good answer to DATA
_CLOSING = 421  # RFC 5321 3.8: the server leaves


def check(parcel: Parcel) -> None:
    """Raise InvalidInputError for what must never reach a wire: injected commands, ambiguous line ends."""
    if parcel.sender:  # empty is the null reverse-path of RFC 5321 4.5.5
        check_address("/sender", parcel.sender)
    for address in (parcel.recipient, *parcel.others):
        check_address("/recipient", address)
    # Notes which line ends it met in a quarter of the time that counting them takes.
    line_ends = io.IncrementalNewlineDecoder(None, translate=False)
    line_ends.decode(parcel.content.decode("latin-1"), final=True)
    if line_ends.newlines not in {None, "\r\n"} or b"\0" in parcel.content:
        raise InvalidInputError.at(
            "/content", "The content has bare line ends or NUL, which could hide a second message."
        )


class Transaction:
    """One parcel on its way over one connection."""

    def __init__(self, client: SmtpClient, parcel: Parcel, envelope: Envelope | None) -> None:
        self._parcel = parcel
        self._client = client
        self._envelope = envelope
        self._groups = list(envelope.groups) if envelope else []
        self._awaited: list[Step] = []  # said, and not answered yet

    @classmethod
    def of(cls, client: SmtpClient, parcel: Parcel) -> Self:
        return cls(client, parcel, envelope_of(parcel, client.offers))

    @classmethod
    def overlapping(cls, client: SmtpClient, parcel: Parcel | None) -> Self | None:
        """One that begins behind the content of the parcel before it; None when this parcel has to begin by itself.

        A refused recipient must not meet an accepted copy there, and an unfit parcel is for its own hand-over to raise.
        """
        if parcel is None or parcel.others:
            return None
        with suppress(InvalidInputError):
            check(parcel)
            envelope = envelope_of(parcel, client.offers)
            return cls(client, parcel, envelope) if envelope and envelope.is_one_group else None
        return None

    @property
    def is_open(self) -> bool:
        return self._client.sock is not None

    def is_of(self, parcel: Parcel) -> bool:
        return self._parcel is parcel or self._parcel == parcel

    def under(self, attempt: Attempt) -> Self:
        """Go on within the time of this attempt; what came before was within another's."""
        self._client.attempt = attempt
        return self

    def next_group(self) -> bytes:
        """The commands to send now, whose answers are awaited from here on."""
        group = self._groups.pop(0)
        self._awaited = list(group.steps)
        return group.commands

    def begin(self) -> Report | None:
        """Say MAIL, unless it was said behind another content, and hear the answer; a Report when that was the end."""
        attempt = self._client.attempt
        attempt.phase = Phase.MAIL
        if self._envelope is None:
            reply = "The mail server does not offer SMTPUTF8, which an address of this message needs."
            return Report(outcome=Outcome.REFUSED, phase=Phase.MAIL, enhanced_code="5.6.7", reply=reply)
        attempt.refused = dict.fromkeys(
            self._envelope.left_out, "5.6.7 The mail server does not offer SMTPUTF8, which this address needs."
        )
        if not self._awaited:
            self._client.say(self.next_group())
        return self._hear()

    def finish(self, upcoming: Callable[[], Parcel | None]) -> tuple[Report, Self | None]:
        """All that comes after the answer to MAIL; with the transaction that was begun behind the content, if any."""
        while self._awaited or self._groups:
            if not self._awaited:
                self._client.attempt.phase = self._groups[0].steps[0].phase
                self._client.say(self.next_group())
            report = self._hear()
            if report is not None:
                return report, None
        return self._hand_over(upcoming)

    def _hear(self) -> Report | None:
        """Read the answer that is due next; a Report when it ends the transaction."""
        client = self._client
        phase, copy = self._awaited.pop(0)
        client.attempt.phase = phase
        code, words = client.getreply()
        if code == _START_INPUT if phase is Phase.DATA else code < 300:  # noqa: PLR2004 - the replies of RFC 5321 4.2.1
            return None
        reply = client.kept(code, words)
        if copy and code != _CLOSING and (reply.is_transient or reply.is_permanent):
            client.attempt.refused[copy] = f"{reply.code} {reply.text}"
            return None
        return self._abandon(reply)

    def _hand_over(self, upcoming: Callable[[], Parcel | None]) -> tuple[Report, Self | None]:
        """Send the content and the final dot, and behind it the next parcel's commands."""
        client = self._client
        attempt = client.attempt
        attempt.phase = Phase.CONTENT
        content = stuffed(self._parcel.content)
        if len(content) > PIECE_OCTETS and not client.has_spoken():
            client.send(memoryview(content)[:-PIECE_OCTETS])
            content = content[-PIECE_OCTETS:]
        following = self.overlapping(client, upcoming())
        if client.has_spoken():  # before the dot no answer is due: a refusal, or the end of the connection
            reply = client.reply()
            client.close()
            return of_reply(attempt, reply), None
        client.send_end(content + b".\r\n", following.next_group() if following else b"")
        reply = client.reply()
        if not (reply.is_positive or reply.is_transient or reply.is_permanent):
            client.close()
        return of_reply(attempt, reply), following

    def _abandon(self, reply: Reply) -> Report:
        """Report, and leave the connection fit for the next parcel, or closed."""
        report = of_reply(self._client.attempt, reply)
        if reply.is_transient or reply.is_permanent:
            with suppress(OSError):  # the report stands, whatever becomes of the connection
                if self._is_reset():
                    return report
        self._client.close()
        return report

    def _is_reset(self) -> bool:
        """Whether the server answered all that was said, and forgot it.

        Not when it invites a content: the lone dot of RFC 2920 3.1 could deliver an empty message to somebody.
        """
        for phase, _ in self._awaited:
            code, _ = self._client.getreply()
            if code < 400 and (phase is Phase.DATA or code >= 300):  # noqa: PLR2004 - as above
                return False
        return self._client.ask("RSET").is_positive


def stuffed(content: bytes) -> bytes:
    """The content with every leading dot doubled (RFC 5321 4.5.2) and a line end at its end; its line ends are CRLF."""
    doubled = content.replace(b"\r\n.", b"\r\n..")
    if doubled.startswith(b"."):
        doubled = b"." + doubled
    return doubled if doubled.endswith(b"\r\n") or not doubled else doubled + b"\r\n"


def of_reply(attempt: Attempt, reply: Reply) -> Report:
    """What the server's last reply means in the phase that was reached."""
    phase = attempt.phase
    is_before_content = phase is not Phase.FINAL and phase is not Phase.CONTENT
    is_fault = is_before_content and (phase in _FAULT_PHASES or reply.code in _AUTH_CODES)
    if phase is Phase.FINAL and not (reply.is_transient or reply.is_permanent):
        outcome = Outcome.ACCEPTED if reply.is_positive else Outcome.UNCERTAIN
    else:
        outcome = Outcome.REFUSED if reply.is_permanent and not is_fault else Outcome.RETRY_LATER
    return Report(
        outcome=outcome,
        phase=phase,
        code=reply.code,
        enhanced_code=reply.enhanced_code,
        reply=reply.text,
        retry_after_seconds=reply.retry_after_seconds,
        is_transport_fault=is_fault,
        refused=attempt.refused,
    )


def of_failure(attempt: Attempt, error: OSError) -> Report:
    """What it means that the connection could not be made, or did not last."""
    if isinstance(error, SMTPResponseException):
        text = error.smtp_error
        return of_reply(
            attempt, Reply(error.smtp_code, text if isinstance(text, str) else text.decode("ascii", "replace"))
        )
    words = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.strerror or str(error)
    return Report(
        outcome=Outcome.UNCERTAIN if attempt.phase is Phase.FINAL else Outcome.RETRY_LATER,
        phase=attempt.phase,
        reply=printable(words),
        is_transport_fault=attempt.phase in _FAULT_PHASES,
        refused=attempt.refused,
    )
