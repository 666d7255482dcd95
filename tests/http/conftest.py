"""A house behind a test client, empty for each test, with the key of a client that may do everything."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from email_service import app, extensions
from tests.applications import Api, House, empty, opened

PATIENCE_SECONDS = 30


@pytest.fixture
def house(sqlite_house) -> House:
    empty(sqlite_house)
    return sqlite_house


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> House:
    """A house on each kind of database, for calls whose statements differ."""
    house: House = request.getfixturevalue("sqlite_house" if request.param == "sqlite" else "postgres_house")
    empty(house)
    return house


@pytest.fixture
def api(house) -> Api:
    """The calls of a client that may do everything."""
    return Api(house, house.add_client())


@pytest.fixture
def on_postgres(postgres_house) -> Api:
    """The same on PostgreSQL."""
    empty(postgres_house)
    return Api(postgres_house, postgres_house.add_client())


@pytest.fixture
def reopen(house) -> Iterator[Callable[..., House]]:
    """Another application on the same SQLite database, with these settings."""
    with ExitStack() as stack:
        url = str(house.app.config["SQLALCHEMY_DATABASE_URI"])
        yield lambda **variables: stack.enter_context(opened(**{"database_url": url, **variables}))


@pytest.fixture
def counts(redis_url, limiter_is_put_back, monkeypatch) -> Iterator[redis.Redis]:
    """Redis, empty before and after, for whose answer applications wait as long as a busy machine takes for it."""
    for name in ("socket_timeout", "socket_connect_timeout"):
        monkeypatch.setitem(app._REDIS_OPTIONS, name, PATIENCE_SECONDS)
    with redis.Redis.from_url(redis_url) as server:
        server.flushdb()
        yield server
        server.flushdb()


@pytest.fixture
def limiter_is_put_back(house):
    """There is one limiter in a process: afterwards it counts in memory again, for the other tests."""
    yield
    extensions.limiter.init_app(house.app)
