"""Sends one preview to the author's own address, by the transport that the service itself sends with.

Knows letters and reports; the outbox is passed by, because a running service would write the mail from older templates.
"""

from collections.abc import Callable
from dataclasses import dataclass

from email_service.delivery import mime
from email_service.delivery.transport import Outcome, Parcel, Report, Transport
from email_service.kernel import addresses, clock, orm
from email_service.kernel.addresses import Mailbox
from email_service.rendering.renderer import Rendered


@dataclass(frozen=True, slots=True)
class Post:
    """The way out of the gallery."""

    sender: Mailbox
    open_transport: Callable[[str], Transport]  # for a lane
    sign: Callable[[bytes, str], bytes]
    way: str  # where mail goes, as a sentence
    remedy: str  # what to do when it does not, as another

    def send(self, rendered: Rendered, address: str, lane: str) -> tuple[bool, str]:
        """Whether it was taken, and a sentence about that. Raises InvalidInputError for what is no address."""
        recipient, domain, mail_id = addresses.parse(address).email, self.sender.email.rpartition("@")[2], orm.new_id()
        letter = mime.Letter(
            message_id_header=f"<{mail_id}@{domain}>",
            date=clock.now(),
            sender=self.sender,
            to=Mailbox(recipient, ""),
            subject=rendered.subject,
            html=rendered.html,
            text=rendered.text,
        )
        content = self.sign(mime.build(letter), domain)
        parcel = Parcel(message_id=str(mail_id), sender=self.sender.email, recipient=recipient, content=content)
        transport = self.open_transport(lane)
        try:
            report = transport.send(parcel=parcel)
        finally:
            transport.close()
        return report.outcome is Outcome.ACCEPTED, self._tell(report, recipient)

    def _tell(self, report: Report, recipient: str) -> str:
        if report.outcome is Outcome.ACCEPTED:
            return f"On its way to {recipient}: {report.reply}"
        reason = f"Not sent ({report.phase}): {report.reply or report.outcome}"
        return f"{reason} {self.remedy}" if report.is_transport_fault else reason
