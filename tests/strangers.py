"""The public API as somebody without a key calls it, and the accounts and tokens that there are to ask for.

Knows no pytest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from werkzeug.test import TestResponse

from email_service.accounts import service as accounts
from email_service.accounts.service import Followers, Profile
from email_service.audit.models import AuditEvent
from email_service.audit.service import OPERATOR
from email_service.clients.models import PUBLIC_CLIENT_ID
from email_service.engine import create_feeds
from email_service.tokens import requests, service
from email_service.tokens.purposes import Purpose
from email_service.tokens.service import Office, Order
from tests.applications import House

ADA = "ada@example.com"
TOKENS = "/public/v1/tokens"


@dataclass(frozen=True)
class Stranger:
    """Calls over HTTP from one address, without a key."""

    house: House
    address: str = "192.0.2.1"
    environ: Mapping[str, Any] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> TestResponse:
        environ = {"REMOTE_ADDR": self.address, **self.environ}
        with self.house.app.test_client() as client:
            return client.open(path, method=method, environ_overrides=environ, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.request("POST", TOKENS + path, **options)

    def ask(self, email: Any = ADA, purpose: str = "password_reset", **more: Any) -> TestResponse:
        return self.post("", json={"purpose": purpose, "email": email, **more})

    def verify(self, token: str, purpose: str = "password_reset") -> TestResponse:
        return self.post("/verify", json={"purpose": purpose, "token": token})

    def consume(self, key: str | None = None, purpose: str = "password_reset", **shown: Any) -> TestResponse:
        headers = None if key is None else {"Idempotency-Key": key}
        return self.post("/consume", json={"purpose": purpose, **shown}, headers=headers)


def put_account(house: House, email: str = ADA, subject: str = "u-1", **profile: Any) -> None:
    with house.sessions.begin() as session:
        accounts.put(session, house.parts.get(Followers), subject, Profile(email=email, **profile), OPERATOR)


def issue(house: House, purpose: str = "password_reset", subject: str = "u-1", email: str = ADA) -> dict[str, str]:
    """A live token of this subject and its code, as far as the purpose has them; nothing is mailed."""
    order = Order(
        purpose=Purpose(purpose), subject=subject, email=email, client_id=PUBLIC_CLIENT_ID, is_delivered=False
    )
    office = house.parts.get(Office)
    with house.sessions.begin() as session:
        token = service.issue(session, office, order, OPERATOR)
        return service.secret_of(session, office, token.id)


def answer_requests(house: House) -> int:
    """What the worker does before it sends: how many public requests it answered."""
    return create_feeds(house.app)[requests.LANE]()


def audited(house: House, prefix: str = "token.") -> list[tuple[str, str, dict[str, Any]]]:
    """Name, subject and data of what was audited under such a name, oldest first."""
    with house.sessions() as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
        return [(row.name, row.subject, row.data) for row in rows if row.name.startswith(prefix)]
