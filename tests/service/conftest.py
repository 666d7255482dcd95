"""A house on each database, empty for each test, and a client in it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import UUID

import pytest

from email_service.clients import service as clients
from tests.applications import House, empty, opened


@pytest.fixture
def house(sqlite_house) -> House:
    """Where the database does not matter."""
    empty(sqlite_house)
    return sqlite_house


@pytest.fixture
def on_postgres(postgres_house) -> House:
    """Where races matter, which SQLite cannot show."""
    empty(postgres_house)
    return postgres_house


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request) -> House:
    """Where the two databases take different roads."""
    return request.getfixturevalue("house" if request.param == "sqlite" else "on_postgres")


@pytest.fixture
def reopen(house) -> Iterator[Callable[..., House]]:
    """Another application on the same SQLite database, with these settings."""
    with ExitStack() as stack:
        url = str(house.app.config["SQLALCHEMY_DATABASE_URI"])
        yield lambda **variables: stack.enter_context(opened(url, **variables))


@pytest.fixture
def add_client() -> Callable[..., UUID]:
    def add(house: House, name: str = "shop") -> UUID:
        with house.sessions.begin() as session:
            return clients.create(session, name, ["*"])[0].id

    return add


@pytest.fixture
def client_id(house, add_client) -> UUID:
    """A client in the house on SQLite."""
    return add_client(house)
