"""A letter, its attachments and what may stand in one, for those who build mail and those who read it."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from email_service.delivery.mime import Attachment, Letter
from email_service.kernel.addresses import Mailbox

LETTER = Letter(
    message_id_header="<0190b3c8@mail.example.com>",
    date=datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
    sender=Mailbox("no-reply@example.com", "Example"),
    to=Mailbox("ada@example.org", "Ada"),
    subject="Welcome",
    html="<p>Hello</p>",
    text="Hello",
)
IMAGE = Attachment("logo.png", "image/png", b"\x89PNG\r\n\x1a\n\x00.\r\n.\r\n", "logo@example.com")
PAPER = Attachment("Rechnung \u20ac 'x' \"y\".pdf", "application/pdf", bytes(range(256)) * 20)

# Everything a header may hold; controls and separators are refused (and tested as such).
header_text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300)
body_text = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(" .\r\n\t=-F\0"), max_size=400)
