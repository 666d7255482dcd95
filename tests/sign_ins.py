"""Sessions as the services see them: made, refreshed, aged and looked at, on any house.

Knows no pytest.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, update

from email_service.accounts import service as accounts
from email_service.accounts.service import Followers, Profile
from email_service.audit.models import AuditEvent
from email_service.audit.service import Actor
from email_service.clients.models import Client
from email_service.kernel.crypto import hash_secret
from email_service.kernel.orm import database_now
from email_service.sessions import rotation, service
from email_service.sessions.models import RefreshToken, UserSession
from email_service.sessions.service import Desk, Order, Pair
from tests.applications import House

SHOP = Actor(name="client:shop", ip="192.0.2.7", request_id="r-1")
ADA = "user-1"


def put(house: House, subject: str, **profile) -> None:
    followers = house.parts.get(Followers)
    with house.sessions.begin() as session:
        accounts.put(session, followers, subject, Profile(**{"email": f"{subject}@example.com"} | profile), SHOP)


def start(house: House, subject: str = ADA, **order) -> Pair:
    desk = house.parts.get(Desk)
    desk.signer.prepare()
    with house.sessions.begin() as session:
        client_id = session.scalars(select(Client.id)).first()
        return service.start(session, desk, Order(subject=subject, client_id=client_id, **order), SHOP)


def refresh(house: House, token: str) -> Pair:
    desk = house.parts.get(Desk)
    with house.sessions.begin() as session:
        outcome = rotation.refresh(session, desk, token, SHOP)
    return rotation.granted(outcome)


def move(house: House, session_id: UUID, **by: timedelta) -> None:
    """Let these times of a session be earlier."""
    values = {name: database_now(-span) for name, span in by.items()}
    house.execute(update(UserSession).where(UserSession.id == session_id).values(values))


def age(house: House, token: str, seconds: float) -> None:
    """Let a refresh token have been used so long ago."""
    used_at = database_now(timedelta(seconds=-seconds))
    house.execute(update(RefreshToken).where(RefreshToken.token_hash == hash_secret(token)).values(used_at=used_at))


def row(house: House, session_id: UUID) -> UserSession:
    with house.sessions() as session:
        return session.get_one(UserSession, session_id)


def found(house: House, subject: str = ADA, **page) -> list[UUID]:
    with house.sessions() as session:
        return [each.id for each in service.find(session, subject, **page).data]


def audited(house: House, prefix: str = "session.") -> list[tuple]:
    columns = select(AuditEvent.name, AuditEvent.subject, AuditEvent.data).order_by(AuditEvent.id)
    return [tuple(each) for each in house.execute(columns) if each.name.startswith(prefix)]
