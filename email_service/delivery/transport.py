"""The words between a worker and whatever carries bytes away. Knows no protocol, no database and no configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    """How far a delivery attempt came; the furthest phase that was entered."""

    PREPARE = "prepare"  # nothing was connected yet
    CONNECT = "connect"  # DNS, TCP and the banner
    TLS = "tls"  # STARTTLS or implicit TLS, with the certificate's check
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the DATA command and its 354
    CONTENT = "content"  # the bytes were on their way, the final dot was not
    FINAL = "final"  # the final dot was sent


class Outcome(StrEnum):
    """What an attempt came to."""

    ACCEPTED = "accepted"  # the next server took responsibility (RFC 5321 6.1)
    RETRY_LATER = "retry_later"  # certainly not taken, and worth another try
    REFUSED = "refused"  # certainly not taken, and never will be
    UNCERTAIN = "uncertain"  # the final dot was sent and no reply came back


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One message, ready for the wire."""

    message_id: str  # the message's id, for the log and the capture transport
    sender: str  # envelope sender, a bare address
    recipient: str  # the address in `to`; if it is refused, nobody gets the message
    others: tuple[str, ...] = ()  # cc and bcc, riding along
    content: bytes = field(repr=False)  # RFC 5322 with CRLF line ends; no Bcc header


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of handing over one parcel. The server's words are hostile input: bounded and printable."""

    outcome: Outcome
    phase: Phase
    code: int | None = None  # the SMTP reply code, if there was a reply
    enhanced_code: str | None = None  # RFC 3463, such as 5.1.1
    reply: str = ""  # at most 500 printable characters
    retry_after_seconds: int | None = None  # the server's own suggestion
    is_transport_fault: bool = False  # connect, TLS or AUTH failed: no message is to blame
    refused: Mapping[str, str] = field(default_factory=dict)  # cc and bcc addresses the server refused, with its reply


def nothing_upcoming() -> Parcel | None:
    """What a sender says that knows of no next parcel."""
    return None


class Transport(Protocol):
    """A way out. One instance serves one thread; it may keep a connection open between parcels."""

    name: str

    def send(self, *, parcel: Parcel, upcoming: Callable[[], Parcel | None] = nothing_upcoming) -> Report:
        """Hand the parcel over. Whatever the network or the server does is a Report, never an exception.

        While the content is on its way, a transport that pipelines asks `upcoming` at most once for the next parcel
        (None: there is none) and begins it; the caller then sends exactly that parcel next.
        """
        ...

    def close(self) -> None:
        """Let go of any connection, politely and without waiting long."""
        ...
