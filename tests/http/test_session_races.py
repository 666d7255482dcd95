"""Many present the same refresh token at the same moment, on PostgreSQL: no family forks, and none ends twice."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import func, select

from email_service.audit.models import AuditEvent
from email_service.kernel.crypto import hash_secret
from email_service.sessions.models import RefreshToken, RevokeReason, UserSession
from email_service.sessions.rotation import GRACE
from tests import sign_ins
from tests.applications import Api, House, empty, opened
from tests.crowd import CALLERS, ROUNDS, UNLIMITED
from tests.sign_ins import ADA
from tests.strangers import Stranger

Answer = tuple[int, dict]
HALF = CALLERS // 2
USED = (400, "token_used")
pytestmark = pytest.mark.timeout(1800)  # 200 rounds on a busy machine take their time


@pytest.fixture
def house(postgres_house) -> Iterator[House]:
    """With an account that may sign in, where nobody calls too often."""
    empty(postgres_house)
    with opened(str(postgres_house.app.config["SQLALCHEMY_DATABASE_URI"]), **UNLIMITED) as house:
        sign_ins.put(house, ADA)
        yield house


@pytest.fixture
def key(house) -> str:
    """An API key, for the calls of a main app."""
    return house.add_client()


def refresh(house: House, token: str) -> Answer:
    response = Stranger(house).request("POST", "/public/v1/sessions/refresh", json={"refresh_token": token})
    return response.status_code, response.json


def erase(house: House, key: str) -> Answer:
    response = Api(house, key).request("DELETE", f"/v1/accounts/{ADA}")
    return response.status_code, response.json


def sign_out(house: House, key: str) -> Answer:
    response = Api(house, key).request("DELETE", "/v1/sessions", query_string={"subject": ADA})
    return response.status_code, response.json


def start(house: House) -> str:
    return sign_ins.start(house).refresh_token


def next_of(house: House, token: str) -> str:
    return sign_ins.refresh(house, token).refresh_token


def outcomes(answers: list[Answer]) -> Counter:
    return Counter((status, told.get("code")) for status, told in answers)


def told(answers: list[Answer]) -> set[str]:
    """The refresh tokens that were handed out."""
    return {body["refresh_token"] for status, body in answers if status == 200}


def children(house: House, token: str) -> int:
    parent = select(RefreshToken.id).where(RefreshToken.token_hash == hash_secret(token)).scalar_subquery()
    return house.execute(select(func.count()).where(RefreshToken.parent_id == parent))[0][0]


def tokens(house: House) -> int:
    return house.execute(select(func.count()).select_from(RefreshToken))[0][0]


def reuses(house: House) -> int:
    return house.execute(select(func.count()).where(AuditEvent.name == "session.reused"))[0][0]


def ended(house: House) -> Counter:
    """Why sessions ended; None: they are live."""
    return Counter(row[0] for row in house.execute(select(UserSession.revoke_reason)))


def test_sixty_four_at_once_get_one_child(house, crowd):
    """T26: no fork (GHSA-392p-2q2v-4372), and whoever lost the race is not signed out."""
    token = start(house)
    for number in range(1, ROUNDS + 1):
        answers = crowd.race([partial(refresh, token=token)] * CALLERS)
        assert outcomes(answers) == {(200, None): CALLERS}
        [child] = told(answers)
        assert (children(house, token), children(house, child)) == (1, 0)
        assert tokens(house) == number + 1
        token = child
        crowd.tally.outcomes["one child"] += 1
    assert ended(house) == {None: 1}
    assert reuses(house) == 0


@pytest.mark.parametrize("is_late", [True, False], ids=["after its grace", "as a grandparent"])
def test_sixty_four_that_come_too_late_end_the_family_once(house, crowd, is_late):
    """T26"""
    for number in range(1, ROUNDS + 1):
        token = start(house)
        last = next_of(house, token)
        if is_late:
            sign_ins.age(house, token, 2 * GRACE.total_seconds())
        else:
            last = next_of(house, last)
        before = tokens(house)
        assert outcomes(crowd.race([partial(refresh, token=token)] * CALLERS)) == {USED: CALLERS}
        assert outcomes([refresh(house, last)]) == {USED: 1}
        assert (tokens(house), reuses(house)) == (before, number)
        assert ended(house) == {RevokeReason.REUSE: number}
        crowd.tally.outcomes["ended once"] += 1


def test_parent_and_child_at_once_leave_no_family_that_two_can_use(house, crowd):
    """T26: either the parent came first, or it came too late and the family is dead; nothing forks, nothing breaks."""
    for number in range(1, ROUNDS + 1):
        token = start(house)
        child = next_of(house, token)
        answers = crowd.race([*[partial(refresh, token=token)] * HALF, *[partial(refresh, token=child)] * HALF])
        assert {*outcomes(answers)} <= {(200, None), USED}
        assert told(answers[:HALF]) <= {child}
        grandchildren = told(answers[HALF:])
        assert len(grandchildren) <= 1
        assert (children(house, token), children(house, child)) == (1, len(grandchildren))
        assert ended(house) == {RevokeReason.REUSE: number}
        assert reuses(house) == number
        assert {outcome for last in grandchildren | {child} for outcome in outcomes([refresh(house, last)])} == {USED}
        crowd.tally.outcomes["grandchild" if grandchildren else "none"] += 1


def test_a_refresh_meets_an_erasure_without_a_deadlock(house, key, crowd):
    """Both lock the account, then its sessions, then their tokens."""
    for _ in range(ROUNDS):
        started = [start(house) for _ in range(3)]
        refreshing = [partial(refresh, token=token) for token in started] * (CALLERS // 3)
        erased, *answers = crowd.race([partial(erase, key=key), *refreshing])
        assert erased[0] == 200
        assert {status for status, _ in answers} <= {200, 400}
        assert (tokens(house), ended(house)) == (0, {})
        sign_ins.put(house, ADA)
        crowd.tally.outcomes["some were in time" if told(answers) else "none was"] += 1


def test_a_refresh_that_meets_a_sign_out_leaves_nothing_alive(house, key, crowd):
    for number in range(1, ROUNDS + 1):
        token = start(house)
        answers = crowd.race([*[partial(sign_out, key=key)] * HALF, *[partial(refresh, token=token)] * HALF])
        signed_out, refreshed = answers[:HALF], answers[HALF:]
        assert sum(body["revoked"] for _, body in signed_out) == 1
        assert {*outcomes(refreshed)} <= {(200, None), USED}
        assert len(told(refreshed)) <= 1
        assert children(house, token) == len(told(refreshed))
        assert ended(house) == {RevokeReason.REVOKED: number}
        assert {status for last in told(refreshed) for status, _ in [refresh(house, last)]} <= {400}
        crowd.tally.outcomes["refreshed first" if told(refreshed) else "signed out first"] += 1
