"""Tokens are forgotten a week after their end, whichever end it was, and never before it."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, insert, select

from email_service.kernel import clock
from email_service.kernel.orm import first_id_at, new_id
from email_service.retention import batches
from email_service.retention.batches import START
from email_service.retention.policy import Policy
from email_service.retention.purge import Purge, count
from email_service.sessions.models import RefreshToken, UserSession
from email_service.tokens.models import Token

POLICY = Policy(retention_days=90, content_retention_days=7, audit_retention_days=365)
DAY = timedelta(days=1)


@pytest.fixture
def client_of(either, add_client) -> UUID:
    return add_client(either)


def add(house, client_id: UUID, issued: float, *, expired: float, **ended: float) -> UUID:
    """A token that was issued, expired and ended so many days ago; a negative number lies ahead."""
    now = clock.now()
    token_id = UUID(int=first_id_at(now - issued * DAY).int | new_id().int & (1 << 76) - 1)
    row = {"id": token_id, "subject": str(token_id), "purpose": "invitation", "email": "a@b.de", "email_key": "a@b.de"}
    row |= {"nonce": b"", "context": {}, "code_try_count": 0, "client_id": client_id}
    row |= {"issued_at": now - issued * DAY, "expires_at": now - expired * DAY}
    house.execute(insert(Token).values(**row, **{name: now - days * DAY for name, days in ended.items()}))
    return token_id


def left(house) -> set[UUID]:
    return {row.id for row in house.execute(select(Token.id))}


def purge(house, **options) -> int:
    return Purge(house.sessions, POLICY, **options).run(lambda _: None)["tokens"]


@pytest.mark.parametrize(
    ("days", "is_kept"),
    [
        ({"issued": 20, "expired": 8}, False),
        ({"issued": 20, "expired": 6}, True),
        ({"issued": 20, "expired": -5}, True),
        ({"issued": 20, "expired": -5, "consumed_at": 8}, False),
        ({"issued": 20, "expired": -5, "consumed_at": 6}, True),
        ({"issued": 20, "expired": -5, "revoked_at": 8}, False),
        ({"issued": 20, "expired": -5, "revoked_at": 6}, True),
        ({"issued": 6, "expired": 5.9}, True),
    ],
)
def test_a_token_is_forgotten_a_week_after_its_end(either, client_of, days, is_kept):
    token_id = add(either, client_of, **days)
    with either.sessions() as session:
        assert count(session, POLICY)["tokens"] == (not is_kept)
    assert purge(either) == (not is_kept)
    assert left(either) == ({token_id} if is_kept else set())


def test_live_tokens_are_stepped_over_and_not_looked_at_again(either, client_of):
    live = {add(either, client_of, 29, expired=-1) for _ in range(5)}
    for _ in range(4):
        add(either, client_of, 20, expired=8)
    assert purge(either, limit=2) == 4
    assert left(either) == live


def test_two_at_once_share_the_work_and_neither_waits(on_postgres, add_client):
    client_id = add_client(on_postgres)
    for _ in range(6):
        add(on_postgres, client_id, 20, expired=8)
    with on_postgres.sessions() as first, on_postgres.sessions() as second:
        second.execute(select(func.set_config("lock_timeout", "2s", True)))
        cutoffs = POLICY.cutoffs()
        assert batches.delete_tokens(first, cutoffs, START, 4).removed == 4
        passed = batches.delete_tokens(second, cutoffs, START, 4)
        rest = batches.delete_tokens(second, cutoffs, passed.cursor, 4)
        first.commit()
        second.commit()
    assert (passed.removed, rest.removed) == (0, 2)


@pytest.mark.parametrize(
    ("days", "is_kept"),
    [
        ({"expires_at": 8, "idle_expires_at": 9}, False),
        ({"expires_at": -5, "idle_expires_at": 8}, False),
        ({"expires_at": -5, "idle_expires_at": 6}, True),
        ({"expires_at": -5, "idle_expires_at": -1}, True),
        ({"expires_at": -5, "idle_expires_at": -1, "revoked_at": 8}, False),
        ({"expires_at": -5, "idle_expires_at": -1, "revoked_at": 6}, True),
    ],
)
def test_a_session_is_forgotten_a_week_after_its_end(either, client_of, days, is_kept):
    now = clock.now()
    session_id = UUID(int=first_id_at(now - 30 * DAY).int | new_id().int & (1 << 76) - 1)
    row = {"id": session_id, "subject": "u-1", "client_id": client_of, "claims": {}, "created_at": now - 30 * DAY}
    ends = {name: now - number * DAY for name, number in days.items()}
    either.execute(insert(UserSession).values(**row, last_used_at=now, **ends))
    either.execute(
        insert(RefreshToken).values(id=new_id(), session_id=session_id, nonce=b"", token_hash=b"h", issued_at=now)
    )
    removed = Purge(either.sessions, POLICY).run(lambda _: None)["sessions"]
    assert removed == (not is_kept)
    assert len(either.execute(select(RefreshToken.id))) == is_kept
