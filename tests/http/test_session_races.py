"""Many present the same refresh token at the same moment, on PostgreSQL: no family forks, and none ends twice."""

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import func, select, update

from email_service.audit.models import AuditEvent
from email_service.kernel.crypto import hash_secret
from email_service.kernel.orm import database_now
from email_service.sessions.models import RefreshToken, UserSession
from email_service.sessions.rotation import GRACE
from tests.applications import Api, empty, opened
from tests.races import ROUNDS, together

CALLERS = 64
PATH, PUBLIC = "/v1/sessions", "/public/v1/sessions"


@pytest.fixture
def api(postgres_house) -> Iterator[Api]:
    """The calls of a client, for a house with an account, where nobody calls too often."""
    empty(postgres_house)
    url = str(postgres_house.app.config["SQLALCHEMY_DATABASE_URI"])
    with opened(url, PUBLIC_RATE_LIMIT="1000000/minute") as house:
        api = Api(house, house.add_client())
        api.request("PUT", "/v1/accounts/user-1", json={"email": "ada@example.com"})
        yield api


def start(api: Api) -> str:
    return api.post(PATH, json={"subject": "user-1"}).json["refresh_token"]


def refresh(api: Api, token: str):
    return api.post(f"{PUBLIC}/refresh", json={"refresh_token": token})


def refresh_together(api: Api, tokens: list[str]) -> list:
    return together([partial(refresh, api, token) for token in tokens])


def children(api: Api, token: str) -> int:
    parent = select(RefreshToken.id).where(RefreshToken.token_hash == hash_secret(token)).scalar_subquery()
    return api.house.execute(select(func.count()).where(RefreshToken.parent_id == parent))[0][0]


def reuses(api: Api) -> int:
    return api.house.execute(select(func.count()).where(AuditEvent.name == "session.reused"))[0][0]


@pytest.mark.timeout(600)  # a busy machine takes its time for so many calls
def test_sixty_four_at_once_get_one_child(api):
    """T26: no fork (GHSA-392p-2q2v-4372), and whoever lost the race is not signed out."""
    token = start(api)
    for _ in range(ROUNDS):
        answers = refresh_together(api, [token] * CALLERS)
        assert {answer.status_code for answer in answers} == {200}
        [child] = {answer.json["refresh_token"] for answer in answers}
        assert children(api, token) == 1
        token = child
    assert reuses(api) == 0


def test_sixty_four_late_ones_end_the_family_once(api):
    """T26"""
    for number in range(1, 4):
        token = start(api)
        child = refresh(api, token).json["refresh_token"]
        late = update(RefreshToken).where(RefreshToken.token_hash == hash_secret(token))
        api.house.execute(late.values(used_at=database_now(-2 * GRACE)))
        answers = refresh_together(api, [token] * CALLERS)
        assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(400, "token_used")}
        assert refresh(api, child).status_code == 400
        assert reuses(api) == number


def test_parent_and_child_at_once_leave_no_family_that_two_can_use(api):
    """T26: either the parent came first, or it came too late and the family is dead; nothing forks, nothing breaks."""
    for _ in range(ROUNDS):
        token = start(api)
        child = refresh(api, token).json["refresh_token"]
        answers = refresh_together(api, [token, child] * 8)
        assert {answer.status_code for answer in answers} <= {200, 400}
        assert (children(api, token), children(api, child)) in {(1, 0), (1, 1)}
        [(live,)] = api.house.execute(
            select(func.count()).select_from(UserSession).where(UserSession.revoked_at.is_(None))
        )
        assert live == 0


def test_a_refresh_meets_an_erasure_without_a_deadlock(api):
    """Both lock the account, then its sessions, then their tokens."""
    for _ in range(ROUNDS):
        tokens = [start(api) for _ in range(4)]
        erase = partial(api.request, "DELETE", "/v1/accounts/user-1")
        erased, *answers = together([erase, *(partial(refresh, api, token) for token in tokens * 4)])
        assert erased.status_code == 200
        assert {answer.status_code for answer in answers} <= {200, 400}
        assert api.house.execute(select(RefreshToken.id)) == []
        api.request("PUT", "/v1/accounts/user-1", json={"email": "ada@example.com"})


def test_a_refresh_that_meets_a_sign_out_leaves_nothing_alive(api):
    for _ in range(ROUNDS):
        token = start(api)
        sign_out = partial(api.request, "DELETE", PATH, query_string={"subject": "user-1"})
        signed_out, *answers = together([sign_out, *[partial(refresh, api, token)] * 8])
        assert signed_out.json == {"revoked": 1}
        told = {answer.json.get("refresh_token") for answer in answers} - {None}
        assert {refresh(api, each).status_code for each in told} <= {400}
