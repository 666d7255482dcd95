"""One mail transaction, command by command, and what each answer means for the parcel. Knows RFC 5321 and how far it
came; refuses to know how the connection was made or whether it will be used again.
"""

import ssl
from contextlib import suppress
from smtplib import SMTPResponseException

from email_service.delivery.smtp_client import Attempt, SmtpClient
from email_service.delivery.smtp_reply import Reply, printable
from email_service.delivery.transport import Outcome, Parcel, Phase, Report
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.headers import check_address

_FAULT_PHASES = frozenset({Phase.PREPARE, Phase.CONNECT, Phase.TLS, Phase.AUTH})
# "Authentication required" and its kin (RFC 4954 6), said anywhere before the content: not the message's fault.
_AUTH_CODES = frozenset({530, 534, 535, 538})
_START_INPUT = 354  # RFC 5321 4.3.2, the only good answer to DATA


def check(parcel: Parcel) -> None:
    """Raise InvalidInputError for what must never reach a wire: injected commands, ambiguous line ends."""
    if parcel.sender:  # empty is the null reverse-path of RFC 5321 4.5.5
        check_address("/sender", parcel.sender)
    for address in (parcel.recipient, *parcel.others):
        check_address("/recipient", address)
    content = parcel.content
    line_ends = content.count(b"\r\n")
    if content.count(b"\r") != line_ends or content.count(b"\n") != line_ends or b"\0" in content:
        raise InvalidInputError.at(
            "/content", "The content has bare line ends or NUL, which could hide a second message."
        )


def begin(client: SmtpClient, parcel: Parcel) -> Report | None:
    """Say MAIL; a Report when that was the end of it."""
    client.attempt.phase = Phase.MAIL
    is_utf8_offered = client.has_extn("smtputf8")
    is_ascii = parcel.content.isascii() and parcel.sender.isascii() and parcel.recipient.isascii()
    if not is_ascii and not is_utf8_offered:
        reply = "The mail server does not offer SMTPUTF8, which an address of this message needs."
        return Report(outcome=Outcome.REFUSED, phase=Phase.MAIL, enhanced_code="5.6.7", reply=reply)
    is_utf8 = is_utf8_offered and not (is_ascii and all(address.isascii() for address in parcel.others))
    client.command_encoding = "utf-8" if is_utf8 else "ascii"
    options = [f" SIZE={len(parcel.content)}"] if client.has_extn("size") else []
    if is_utf8:
        options += [" BODY=8BITMIME"] if client.has_extn("8bitmime") else []
        options.append(" SMTPUTF8")
    reply_to_mail = client.ask("MAIL", f"FROM:<{parcel.sender}>{''.join(options)}")
    return None if reply_to_mail.is_positive else _abandon(client, reply_to_mail)


def finish(client: SmtpClient, parcel: Parcel) -> Report:
    """Say RCPT, DATA, the content and the final dot."""
    attempt = client.attempt
    attempt.phase = Phase.RCPT
    reply = client.ask("RCPT", f"TO:<{parcel.recipient}>")
    if not reply.is_positive:
        return _abandon(client, reply)
    for address in dict.fromkeys(parcel.others):
        if address != parcel.recipient and (end := _add(client, address)):
            return end
    attempt.phase = Phase.DATA
    reply = client.ask("DATA")
    if reply.code != _START_INPUT:
        return _abandon(client, reply)
    attempt.phase = Phase.CONTENT
    client.send(stuffed(parcel.content))
    if client.has_spoken():  # before the dot no answer is due: a refusal, or the end of the connection
        reply = client.reply()
        client.close()
        return of_reply(attempt, reply)
    client.send(b".\r\n")
    attempt.phase = Phase.FINAL
    reply = client.reply()
    if not (reply.is_positive or reply.is_transient or reply.is_permanent):
        client.close()
    return of_reply(attempt, reply)


def stuffed(content: bytes) -> bytes:
    """The content with every leading dot doubled (RFC 5321 4.5.2) and a line end at its end; its line ends are CRLF."""
    doubled = content.replace(b"\r\n.", b"\r\n..")
    if doubled.startswith(b"."):
        doubled = b"." + doubled
    return doubled if doubled.endswith(b"\r\n") or not doubled else doubled + b"\r\n"


def of_reply(attempt: Attempt, reply: Reply) -> Report:
    """What the server's last reply means in the phase that was reached."""
    is_before_content = attempt.phase not in {Phase.CONTENT, Phase.FINAL}
    is_fault = attempt.phase in _FAULT_PHASES or (is_before_content and reply.code in _AUTH_CODES)
    if attempt.phase is Phase.FINAL and not (reply.is_transient or reply.is_permanent):
        outcome = Outcome.ACCEPTED if reply.is_positive else Outcome.UNCERTAIN
    else:
        outcome = Outcome.REFUSED if reply.is_permanent and not is_fault else Outcome.RETRY_LATER
    return Report(
        outcome=outcome,
        phase=attempt.phase,
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


def _add(client: SmtpClient, address: str) -> Report | None:
    """Name one more recipient; its refusal is noted and stops nothing, unless the server leaves."""
    if not address.isascii() and client.command_encoding == "ascii":
        client.attempt.refused[address] = "5.6.7 The mail server does not offer SMTPUTF8, which this address needs."
        return None
    reply = client.ask("RCPT", f"TO:<{address}>")
    if reply.code == 421 or not (reply.is_positive or reply.is_transient or reply.is_permanent):  # noqa: PLR2004 - RFC 5321 3.8
        return _abandon(client, reply)
    if not reply.is_positive:
        client.attempt.refused[address] = f"{reply.code} {reply.text}"
    return None


def _abandon(client: SmtpClient, reply: Reply) -> Report:
    """Report, and leave the connection fit for the next parcel, or closed."""
    report = of_reply(client.attempt, reply)
    if reply.is_transient or reply.is_permanent:
        with suppress(OSError):  # the report stands, whatever becomes of the connection
            if client.ask("RSET").is_positive:
                return report
    client.close()
    return report
