"""What is said before a parcel's content, in which groups (RFC 2920), and what each answer will be about. Knows the
extensions that matter to an envelope; refuses to know a connection and what was answered.
"""

from collections.abc import Container, Sequence
from typing import NamedTuple

from email_service.delivery.transport import Parcel, Phase


class Step(NamedTuple):
    """One command, as far as its answer is concerned."""

    phase: Phase
    copy: str = ""  # the cc or bcc address that the command names


class Group(NamedTuple):
    """Commands that go out in one write."""

    commands: bytes
    steps: tuple[Step, ...]


class Envelope(NamedTuple):
    """All that is said before the content."""

    groups: tuple[Group, ...]
    left_out: tuple[str, ...] = ()  # copies to addresses that the server cannot read

    @property
    def is_one_group(self) -> bool:
        return len(self.groups) == 1


_MAIL, _RCPT, _DATA = Step(Phase.MAIL), Step(Phase.RCPT), Step(Phase.DATA)
_WITHOUT_COPIES = (_MAIL, _RCPT, _DATA)
_DATA_ALONE = Group(b"DATA\r\n", (_DATA,))


def envelope_of(parcel: Parcel, offers: Container[str]) -> Envelope | None:
    """The envelope for a server with these extensions; None when it would need SMTPUTF8 (RFC 6531)."""
    is_utf8 = not (parcel.content.isascii() and parcel.sender.isascii() and parcel.recipient.isascii())
    if is_utf8 and "smtputf8" not in offers:
        return None
    if parcel.others:
        return _with_copies(parcel, offers, is_utf8=is_utf8)
    mail, rcpt = _mail(parcel, offers, is_utf8=is_utf8), f"RCPT TO:<{parcel.recipient}>\r\n"
    if "pipelining" in offers:
        return Envelope((Group(f"{mail}{rcpt}DATA\r\n".encode(), _WITHOUT_COPIES),))
    return Envelope((Group(mail.encode(), (_MAIL,)), Group(rcpt.encode(), (_RCPT,)), _DATA_ALONE))


def _with_copies(parcel: Parcel, offers: Container[str], *, is_utf8: bool) -> Envelope:
    copies = [address for address in dict.fromkeys(parcel.others) if address != parcel.recipient]
    is_utf8 = is_utf8 or ("smtputf8" in offers and not all(map(str.isascii, copies)))
    named = [address for address in copies if is_utf8 or address.isascii()]
    mail = Group(_mail(parcel, offers, is_utf8=is_utf8).encode(), (_MAIL,))
    rcpts = [
        Group(f"RCPT TO:<{address}>\r\n".encode(), (step,))
        for address, step in [(parcel.recipient, _RCPT), *((address, Step(Phase.RCPT, address)) for address in named)]
    ]
    # DATA waits until the recipient in `to` was taken: an accepted copy alone would earn a 354.
    groups = (_joined([mail, *rcpts]),) if "pipelining" in offers else (mail, *rcpts)
    return Envelope((*groups, _DATA_ALONE), tuple(address for address in copies if address not in named))


def _mail(parcel: Parcel, offers: Container[str], *, is_utf8: bool) -> str:
    size = f" SIZE={len(parcel.content)}" if "size" in offers else ""
    if not is_utf8:
        return f"MAIL FROM:<{parcel.sender}>{size}\r\n"
    return f"MAIL FROM:<{parcel.sender}>{size}{' BODY=8BITMIME' if '8bitmime' in offers else ''} SMTPUTF8\r\n"


def _joined(groups: Sequence[Group]) -> Group:
    return Group(b"".join(group.commands for group in groups), tuple(step for group in groups for step in group.steps))
