"""Every call keeps to what its description says, whatever it is asked; `make fuzz` asks much more.

That nothing answers 5xx, that what does not fit is refused, that answers have the shape, the content type and a status
that are described, that other methods are 405 and that a missing or wrong key is 401 are schemathesis's checks.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import servers

from email_service import extensions
from tests import contract, fuzzing
from tests.applications import Api, migrate, opened

DESCRIBED = contract.read(("examples", "coverage", "fuzzing"), 8)
SAMPLED = contract.read(("fuzzing",), 6)
BY_STRANGERS = contract.read(("fuzzing",), 3, "positive")


@contextmanager
def _known(url: str) -> Iterator[contract.Known]:
    with opened(url, **contract.NO_QUOTAS) as house:
        migrate(house)
        contract.DOOR.house = house
        yield contract.Known(Api(house, house.add_client()))


@pytest.fixture(scope="module")
def known(tmp_path_factory, sqlite_house):
    with _known(f"sqlite:///{tmp_path_factory.mktemp('contract')}/contract.db") as found:
        yield found
    extensions.limiter.init_app(sqlite_house.app)


@pytest.fixture(scope="module")
def known_on_postgres(postgres_url, sqlite_house):
    with servers.fresh_database(postgres_url) as url, _known(url) as found:
        yield found
    extensions.limiter.init_app(sqlite_house.app)


@pytest.fixture
def renewed(known):
    """One of everything, on SQLite; afterwards the call has been answered as its caller hopes at least once."""
    contract.DOOR.house = known.api.house
    known.renew()
    return known


@pytest.fixture
def renewed_on_postgres(known_on_postgres):
    contract.DOOR.house = known_on_postgres.api.house
    known_on_postgres.renew()
    return known_on_postgres


@pytest.fixture
def answered():
    """The statuses that a call was answered with; a call that never succeeds was not tried."""
    statuses: set[int] = set()
    yield statuses
    assert statuses & {200, 201, 202, 204}, statuses


@DESCRIBED.parametrize()
@fuzzing.thorough(8)
def test_every_answer_is_one_that_is_described(case, renewed, answered):
    """T27, T28, T30"""
    renewed.lead(case)
    answered.add(contract.ask(case, renewed.api.key).status_code)


@SAMPLED.parametrize()
@fuzzing.thorough(6)
def test_every_answer_is_one_that_is_described_on_postgresql(case, renewed_on_postgres):
    renewed_on_postgres.lead(case)
    contract.ask(case, renewed_on_postgres.api.key)


@BY_STRANGERS.parametrize()
@fuzzing.thorough(3)
def test_nobody_learns_anything_without_a_key(case, renewed):
    """T24"""
    renewed.lead(case)
    response = contract.ask(case, None)
    is_refused = response.status_code == 401 or response.json().get("detail") == contract.NOWHERE
    assert is_refused != case.operation.path.startswith("/public/")
