"""The gallery as it goes over the wire: every template and locale, from its acceptance to the transport."""

from collections.abc import Iterator
from contextlib import contextmanager

from email_service.clients import service as clients
from email_service.kernel.addresses import Mailbox
from tests import gallery
from tests.applications import House, migrate, opened
from tests.gallery import BRAND, Piece
from tests.scripted_transport import ACCEPTED, Scripted

SENDER = Mailbox("mail@acme.example", BRAND.name)
READER = Mailbox("zoe@example.com", "Zoë Adler")
_SETTINGS = {
    "BRAND_NAME": BRAND.name,
    "BRAND_LOGO_URL": str(BRAND.logo_url),
    "BRAND_COLOR": BRAND.color,
    "FRONTEND_URL": BRAND.frontend_url,
    "PUBLIC_URL": "https://mail.acme.example",
    "SUPPORT_EMAIL": str(BRAND.support_email),
    "MAIL_DEFAULT_SENDER": f"{SENDER.name} <{SENDER.email}>",
}


def deliver(database_url: str) -> dict[Piece, bytes]:
    """What the transport is handed for each piece, by a service on this new database."""
    transport = Scripted([ACCEPTED])
    with _opened(database_url) as house:
        with house.sessions.begin() as session:
            client_id = clients.create(session, "gallery", ["*"])[0].id
        accepted = {
            str(
                house.accept(
                    client_id,
                    template=piece.name,
                    to={"email": READER.email, "name": READER.name},
                    variables=piece.template.sample_variables,
                    locale=piece.locale,
                )
            ): piece
            for piece in gallery.PIECES
        }
        while house.deliver(transport):
            continue
    return {accepted[parcel.message_id]: parcel.content for parcel in transport.parcels}


@contextmanager
def _opened(database_url: str) -> Iterator[House]:
    with opened(database_url, **_SETTINGS) as house:
        migrate(house)
        yield house
