"""A house on PostgreSQL, empty for each test: what others got wrong is tried on the database of production."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from email_service import extensions
from tests.applications import Api, House, empty, opened


@pytest.fixture
def house(postgres_house) -> House:
    empty(postgres_house)
    return postgres_house


@pytest.fixture
def api(house) -> Api:
    """The calls of a client that may do everything."""
    return Api(house, house.add_client())


@pytest.fixture
def reopen(house) -> Iterator[Callable[..., House]]:
    """Another application on the same database; the one limiter of this process is put back afterwards."""
    with ExitStack() as stack:
        url = str(house.app.config["SQLALCHEMY_DATABASE_URI"])
        yield lambda **variables: stack.enter_context(opened(url, **variables))
    extensions.limiter.init_app(house.app)
