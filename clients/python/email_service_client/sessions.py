"""Sessions: a sign-in each, with short access tokens and refresh tokens that rotate."""

from typing import Unpack

from email_service_client.answers import Ended, Session, StartedSession
from email_service_client.bodies import SessionIn
from email_service_client.calls import Call, Listing
from email_service_client.rooms import Room, TransportT, asks, lists

_ALL = "/v1/sessions"


class Sessions(Room[TransportT]):
    @asks
    def create(self, **session: Unpack[SessionIn]) -> Call[StartedSession]:
        """Start a session for somebody whom you have signed in. Not repeated when its answer is lost."""
        return Call("POST", _ALL, StartedSession, body=session)

    @lists
    def list(self, subject: str, *, page_size: int = 50) -> Listing[Session]:
        """A subject's live sessions, newest first."""
        return Listing(_ALL, Session, query={"subject": subject, "limit": page_size})

    @asks
    def sign_out(self, subject: str) -> Call[Ended]:
        """End every session of a subject. Access tokens live on for what is left of their time."""
        return Call("DELETE", _ALL, Ended, query={"subject": subject})
