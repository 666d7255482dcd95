"""Applications for tests: built from real settings on a database that was migrated once and is emptied between tests.

Knows no pytest; the `conftest.py` files beside the tests turn this into fixtures.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import flask_migrate
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload, sessionmaker
from werkzeug.test import TestResponse

from email_service import extensions, settings
from email_service.app import create_app
from email_service.audit.quota_hits import QuotaHits
from email_service.clients import service as clients
from email_service.clients.models import PUBLIC_CLIENT_ID, Client
from email_service.delivery import outbox
from email_service.delivery.dispatcher import Dispatcher
from email_service.delivery.job import Job, Result
from email_service.delivery.settlement import Rules, settle
from email_service.delivery.transport import Report, Transport
from email_service.engine import create_dispatcher
from email_service.inbox.models import CapturedMail
from email_service.kernel import clock
from email_service.kernel.lanes import LANES
from email_service.kernel.orm import Base
from email_service.messages import service as messages
from email_service.messages.models import Event, Message
from email_service.messages.service import Intake
from email_service.messages.submission import Submission
from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.rendering.renderer import Renderer
from email_service.settings import Settings, resource
from email_service.signing.service import Signer
from email_service.web.context import Parts

SECRET_KEY = "a-key-for-tests-of-more-than-32-characters"
CATALOG = catalog.load(Files(resource("templates") / "email"))
WELCOME: dict[str, Any] = {"template": "welcome", "to": "ada@example.com", "variables": {"name": "Ada"}}
PASSWORD_RESET: dict[str, Any] = {
    "template": "password-reset",
    "variables": {"action_url": "https://app.example.com/reset?token=Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"},
}
RESET: dict[str, Any] = {**PASSWORD_RESET, "to": "ada@example.com"}


@dataclass(frozen=True)
class House:
    """One application with the parts that a test looks into."""

    app: Flask

    @property
    def parts(self) -> Parts:
        return self.app.extensions["email_service"]

    @property
    def sessions(self) -> sessionmaker[Session]:
        return self.parts.sessions

    @property
    def intake(self) -> Intake:
        return self.parts.get(Intake)

    @property
    def renderer(self) -> Renderer:
        return self.parts.get(Renderer)

    def add_client(self, name: str = "shop", scopes: Sequence[str] = ("*",), rate_limit: str | None = None) -> str:
        """A new client's API key."""
        with self.sessions.begin() as session:
            client, key = clients.create(session, name, scopes)
            client.rate_limit = rate_limit
            return key

    def accept(self, client_id: UUID, **submission: Any) -> UUID:
        """A message of this client in the outbox: `welcome` to Ada unless told otherwise."""
        fields = {"template": "welcome", "to": {"email": "ada@example.com", "name": ""}, "variables": {"name": "Ada"}}
        with self.sessions.begin() as session:
            return messages.accept(session, self.intake, client_id, Submission(**{**fields, **submission})).id

    @contextmanager
    def delivering(
        self, transport: Transport | None = None, lanes: Sequence[str] = LANES, connections: int = 1
    ) -> Iterator[Dispatcher]:
        """A dispatcher that runs until the end of the block."""
        make_transport = None if transport is None else lambda _route: transport
        dispatcher = create_dispatcher(self.app, lanes, connections, make_transport)
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            assert dispatcher.stop(30)

    def deliver(self, transport: Transport | None = None) -> int:
        """Deliver all that is due now; how many messages were taken on."""
        with self.delivering(transport) as dispatcher:
            handled = sum(dispatcher.drain(lane) for lane in LANES)
            dispatcher.settle()
            return handled

    def claim(self, limit: int = 10, lanes: Sequence[str] = LANES, lease_seconds: float = 180.0) -> list[outbox.Lease]:
        """Lease what is due, as a worker that has not begun with any of it."""
        leases: list[outbox.Lease] = []
        with self.sessions.begin() as session:
            for lane in lanes:
                for client_id in outbox.find_due_clients(session, lane):
                    leases += outbox.claim(session, lane, client_id, limit - len(leases), lease_seconds)
        return leases

    def conclude(self, lease: outbox.Lease, report: Report) -> None:
        """Write down what an attempt under this lease came to."""
        message = SimpleNamespace(template="welcome", lane="transactional", round_began_at=clock.now())
        job = Job(lease=lease, message=message, lane=message.lane, route="scripted", ends_at_seconds=0.0)
        result = Result(job=job, report=report, started_at=clock.now(), finished_at=clock.now())
        settings = self.parts.get(Settings)
        with self.sessions.begin() as session:
            settle(session, Rules(self.intake.catalog, settings.mail_retry_delays), [result])

    def message(self, message_id: UUID | str) -> Message:
        """The row as it is now, detached, with its attempts and content."""
        with self.sessions() as session:
            loaded = (selectinload(Message.attempts), selectinload(Message.content))
            return session.scalars(select(Message).options(*loaded).where(Message.id == UUID(str(message_id)))).one()

    def events(self, message_id: UUID | str) -> list[Event]:
        with self.sessions() as session:
            statement = select(Event).where(Event.message_id == UUID(str(message_id))).order_by(Event.id)
            return list(session.scalars(statement))

    def execute(self, statement: Any, **parameters: Any) -> Any:
        """One statement in a transaction of its own; its rows, if it returns any."""
        with self.sessions.begin() as session:
            statement = text(statement) if isinstance(statement, str) else statement
            result = session.connection().execute(statement, parameters)
            return result.all() if result.returns_rows else result.rowcount

    def captured(self) -> list[CapturedMail]:
        """What was captured, oldest first, with the sources."""
        with self.sessions() as session:
            found = list(session.scalars(select(CapturedMail).order_by(CapturedMail.id)))
            for mail in found:
                session.refresh(mail, ["source"])
            return found


@dataclass(frozen=True)
class Api:
    """Calls over HTTP with one client's key."""

    house: House
    key: str
    path: str = "/v1/messages"
    environ: Mapping[str, Any] = field(default_factory=dict)

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        with self.house.app.test_client() as client:
            return client.open(path, method=method, headers=sent, environ_overrides=dict(self.environ), **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.request("POST", path, **options)

    def send(self, key: str | None = None, **changes: Any) -> TestResponse:
        """`POST /v1/messages` with `welcome` to Ada and these members changed; `from_` is `from`."""
        body = {**WELCOME, **{name.rstrip("_"): value for name, value in changes.items()}}
        return self.post(self.path, json=body, headers=None if key is None else {"Idempotency-Key": key})

    def raw(self, body: bytes, content_type: str = "application/json") -> TestResponse:
        return self.post(self.path, data=body, content_type=content_type)


@contextmanager
def opened(database_url: str, **variables: str) -> Iterator[House]:
    """An application on this database with these settings; its connections are closed at the end."""
    environ = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, **variables}
    app = create_app(settings.load(environ=environ, env_file=None))
    try:
        yield House(app)
    finally:
        with app.app_context():
            extensions.db.engine.dispose()


def migrate(house: House) -> None:
    with house.app.app_context():
        flask_migrate.upgrade()


def empty(house: House) -> None:
    """Take out every row that no migration made, and every count that the limiter keeps in this process."""
    tables = [table.name for table in reversed(Base.metadata.sorted_tables)]
    with house.sessions.begin() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text(f"TRUNCATE {', '.join(tables)}"))
        else:
            for table in tables:
                session.execute(text(f"DELETE FROM {table}"))
        session.add(Client(id=PUBLIC_CLIENT_ID, name="(public)", scopes=[], created_at=clock.now()))
    house.parts.get(Signer)._read_at_seconds = float("-inf")  # its key was among the rows
    extensions.limiter.reset()
    house.parts.note_breach = QuotaHits().note
