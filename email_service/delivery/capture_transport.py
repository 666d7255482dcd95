"""The way out that leads nowhere: keeps each parcel in the database, for the inbox. Knows no network."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery.transport import Outcome, Parcel, Phase, Report, nothing_upcoming
from email_service.inbox import service as inbox


class CaptureTransport:
    """Stores what it is given, each parcel in a transaction of its own."""

    name = "capture"

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    def send(self, *, parcel: Parcel, upcoming: Callable[[], Parcel | None] = nothing_upcoming) -> Report:  # noqa: ARG002 - no wait to fill
        """Keep the parcel. A database that refuses it is a fault of this transport, like a server that is down."""
        try:
            with self._sessions.begin() as session:
                inbox.capture(session, parcel.content, UUID(parcel.message_id), [parcel.recipient, *parcel.others])
        except SQLAlchemyError:
            return Report(
                outcome=Outcome.RETRY_LATER,
                phase=Phase.CONNECT,
                reply="The database did not take the mail.",
                is_transport_fault=True,
            )
        return Report(outcome=Outcome.ACCEPTED, phase=Phase.FINAL, code=250, reply="Captured, not sent.")

    def close(self) -> None:
        """Nothing is held between parcels."""
