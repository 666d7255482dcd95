"""What the tests of pipelining share: sending one parcel after the other, and what goes over the wire for each."""

from collections.abc import Callable, Iterable
from time import monotonic, sleep

from email_service.delivery.smtp_transport import SmtpTransport
from email_service.delivery.transport import Outcome, Parcel, Report
from tests.wire.server import SmtpServer
from tests.wire.steps import Drop, Raw, Reply, ReplyThenDrop, Stall

OK = Reply("250 2.0.0 ok")
GO = Reply("354 go on")
USUAL = {"mail": OK, "rcpt": OK, "data": GO, "final": OK}

ENDS = {
    "greylisted": Reply("451 4.7.1 greylisted, try again in 300 seconds"),
    "refused": Reply("550-5.1.1 no such\r\n550 5.1.1 user"),
    "too large": Reply("552 5.3.4 too big"),
    "login": Reply("530 5.7.0 Authentication required"),
    "wrong login": Reply("535 5.7.8 no"),
    "closing": Reply("421 4.3.2 closing"),
    "closed": ReplyThenDrop("421 4.3.2 closing"),
    "refused and closed": ReplyThenDrop("554 5.7.1 go away"),
    "nonsense": Raw("999 what\r\n"),
    "another class": Raw("334 Zm9v\r\n"),
    "dropped": Drop(),
    "reset": Drop(is_abrupt=True),
    "silent": Stall(),
}


def send_all(transport: SmtpTransport, parcels: Iterable[Parcel]) -> list[Report]:
    """Send them, telling each time which comes next."""
    parcels = list(parcels)
    return [
        transport.send(parcel=parcel, upcoming=lambda follower=follower: follower)
        for parcel, follower in zip(parcels, [*parcels[1:], None], strict=True)
    ]


def outcomes(reports: Iterable[Report]) -> list[Outcome]:
    return [report.outcome for report in reports]


def contents(server: SmtpServer) -> list[bytes]:
    return [message.content for message in server.messages]


def group(parcel: Parcel) -> bytes:
    mail = f"MAIL FROM:<{parcel.sender}> SIZE={len(parcel.content)}\r\n"
    return f"{mail}RCPT TO:<{parcel.recipient}>\r\nDATA\r\n".encode()


def end(parcel: Parcel) -> bytes:
    return parcel.content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def wait_for(is_so: Callable[[], bool]) -> None:
    until = monotonic() + 30
    while not is_so():
        assert monotonic() < until
        sleep(0.005)
