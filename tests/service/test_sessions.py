"""Sessions: how long they live, what becomes of a refresh token that comes again, and who ends them."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from email_service.accounts import service as accounts
from email_service.accounts.service import Followers
from email_service.audit.models import AuditEvent
from email_service.kernel.errors import (
    AccountDisabledError,
    AccountUnknownError,
    InvalidInputError,
    TokenExpiredError,
    TokenInvalidError,
    TokenUsedError,
)
from email_service.sessions import rotation, service
from email_service.sessions.models import RefreshToken, UserSession
from email_service.sessions.service import Desk
from tests.applications import House
from tests.sign_ins import ADA, SHOP, age, audited, found, move, put, refresh, row, start

DAY = timedelta(days=1)


@pytest.fixture
def club(either, add_client) -> House:
    """A house on either database, with an account."""
    add_client(either)
    put(either, ADA)
    return either


def test_a_session_lives_as_long_as_the_settings_say(club):
    """T26"""
    pair = start(club)
    kept = row(club, pair.session_id)
    assert kept.created_at == kept.last_used_at
    assert kept.idle_expires_at - kept.created_at == 7 * DAY
    assert kept.expires_at - kept.created_at == 30 * DAY
    assert pair.expires_in == 1800
    assert audited(club) == [("session.started", ADA, {"id": str(pair.session_id)})]


def test_a_use_moves_the_idle_end_and_not_the_last_one(club):
    """T26"""
    pair = start(club)
    move(club, pair.session_id, created_at=6 * DAY, last_used_at=6 * DAY, idle_expires_at=-DAY)
    before = row(club, pair.session_id)
    refresh(club, pair.refresh_token)
    after = row(club, pair.session_id)
    assert after.last_used_at - before.last_used_at > 5 * DAY
    assert after.idle_expires_at - after.last_used_at == 7 * DAY
    assert after.expires_at == before.expires_at


@pytest.mark.parametrize("end", ["idle_expires_at", "expires_at"])
def test_a_session_that_is_over_is_not_refreshed(club, end):
    """T26"""
    pair = start(club)
    move(club, pair.session_id, **{end: timedelta(seconds=1)})
    with pytest.raises(TokenExpiredError):
        refresh(club, pair.refresh_token)
    assert found(club) == []
    assert row(club, pair.session_id).revoked_at is None


def test_an_access_token_does_not_outlive_its_session(club):
    pair = start(club)
    move(club, pair.session_id, expires_at=timedelta(minutes=-5))
    assert 200 < refresh(club, pair.refresh_token).expires_in <= 300


def test_every_use_gives_another_token_of_the_same_session(club):
    """T26"""
    pairs = [start(club)]
    for _ in range(5):
        pairs.append(refresh(club, pairs[-1].refresh_token))
    assert len({pair.refresh_token for pair in pairs}) == len({pair.access_token for pair in pairs}) == 6
    assert {pair.session_id for pair in pairs} == {pairs[0].session_id}


def test_a_parent_gets_the_same_child_again_while_nobody_saw_that_child(club):
    """T26"""
    assert timedelta(seconds=30) == rotation.GRACE
    parent = start(club)
    child = refresh(club, parent.refresh_token)
    age(club, parent.refresh_token, 15)
    again = refresh(club, parent.refresh_token)
    assert again.refresh_token == child.refresh_token
    assert again.access_token != child.access_token
    assert refresh(club, child.refresh_token).session_id == parent.session_id
    assert len(club.execute(select(RefreshToken.id))) == 3


def test_a_parent_that_comes_late_ends_the_family(club):
    """T26"""
    parent = start(club)
    child = refresh(club, parent.refresh_token)
    age(club, parent.refresh_token, rotation.GRACE.total_seconds() + 1)
    with pytest.raises(TokenUsedError):
        refresh(club, parent.refresh_token)
    with pytest.raises(TokenUsedError):
        refresh(club, child.refresh_token)
    kept = row(club, parent.session_id)
    assert (kept.revoke_reason, kept.revoked_at is None) == ("reuse", False)
    assert audited(club)[1:] == [("session.reused", ADA, {"id": str(parent.session_id)})]


def test_a_grandparent_ends_the_family_at_once(club):
    """T26"""
    grandparent = start(club)
    parent = refresh(club, grandparent.refresh_token)
    child = refresh(club, parent.refresh_token)
    with pytest.raises(TokenUsedError):
        refresh(club, grandparent.refresh_token)
    for each in (parent, child):
        with pytest.raises(TokenUsedError):
            refresh(club, each.refresh_token)
    assert [name for name, *_ in audited(club)] == ["session.started", "session.reused"]


def test_one_family_that_ends_takes_no_other_with_it(club):
    """T26"""
    first, second = start(club), start(club)
    refresh(club, first.refresh_token)
    age(club, first.refresh_token, 60)
    with pytest.raises(TokenUsedError):
        refresh(club, first.refresh_token)
    assert found(club) == [second.session_id]
    assert refresh(club, second.refresh_token).session_id == second.session_id


@pytest.mark.parametrize("token", ["x", "A" * 43, "é\ud800"])
def test_what_is_no_token_opens_nothing_and_ends_nothing(club, token):
    pair = start(club)
    with pytest.raises(TokenInvalidError):
        refresh(club, token)
    with club.sessions.begin() as session:
        service.revoke(session, token, SHOP)
    assert found(club) == [pair.session_id]


def test_no_usable_token_is_kept(club):
    """T2"""
    pair = start(club)
    child = refresh(club, pair.refresh_token)
    kept = " ".join(str(club.execute(f"SELECT * FROM {name}")) for name in ("sessions", "refresh_tokens"))
    kept += str(club.execute(select(AuditEvent.data)))
    for each in (pair, child):
        assert each.refresh_token not in kept
        assert each.access_token not in kept
        assert each.refresh_token not in repr(each)
        assert each.access_token not in repr(each)


@pytest.mark.parametrize("is_old", [False, True])
def test_whoever_gives_a_token_back_ends_its_session(club, is_old):
    pair, other = start(club), start(club)
    child = refresh(club, pair.refresh_token)
    for _ in range(2):
        with club.sessions.begin() as session:
            service.revoke(session, (pair if is_old else child).refresh_token, SHOP)
    assert found(club) == [other.session_id]
    with pytest.raises(TokenUsedError):
        refresh(club, child.refresh_token)
    data = {"id": str(pair.session_id), "reason": "signed_out"}
    assert audited(club)[2:] == [("session.revoked", ADA, data)]


def test_signing_out_everywhere_ends_what_is_live_of_one_subject(club):
    put(club, "user-2")
    pairs, other = [start(club) for _ in range(3)], start(club, "user-2")
    move(club, pairs[0].session_id, expires_at=timedelta(seconds=1))
    counts = []
    for _ in range(2):
        with club.sessions.begin() as session:
            counts.append(service.revoke_all(session, ADA, SHOP))
    assert counts == [2, 0]
    for pair in pairs[1:]:
        with pytest.raises(TokenUsedError):
            refresh(club, pair.refresh_token)
    assert refresh(club, other.refresh_token).session_id == other.session_id
    assert audited(club)[4:] == [("session.revoked", ADA, {"count": 2, "reason": "revoked"})]


def test_a_list_names_live_sessions_newest_first_by_pages(club):
    put(club, "user-2")
    pairs = [start(club, ip="192.0.2.9", user_agent="Firefox") for _ in range(4)]
    start(club, "user-2")
    move(club, pairs[1].session_id, idle_expires_at=timedelta(seconds=1))
    assert found(club) == [pairs[number].session_id for number in (3, 2, 0)]
    with club.sessions() as session:
        page = service.find(session, ADA, 2)
        rest = service.find(session, ADA, 2, page.next_cursor)
        assert [each.id for each in rest.data] == [pairs[0].session_id]
        assert (page.data[0].ip, page.data[0].user_agent, rest.next_cursor) == ("192.0.2.9", "Firefox", None)
        for cursor in ("x", "", "AAAA"):
            with pytest.raises(InvalidInputError):
                service.find(session, ADA, 2, cursor)


def test_a_user_agent_is_cut_and_harmless(club):
    start(club, user_agent="\tMozilla\r\n\x1b[2J" + "x" * 1000)
    [kept] = club.execute(select(UserSession.user_agent))[0]
    assert len(kept) == 400
    assert kept.startswith(" Mozilla   [2Jxx")


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid"])
def test_claims_of_ours_are_refused(club, name):
    """T25"""
    with pytest.raises(InvalidInputError) as caught:
        start(club, claims={"role": "admin", name: "x"})
    assert [fault.pointer for fault in caught.value.faults] == [f"/claims/{name}"]
    assert found(club) == []


def test_nobody_unknown_or_disabled_gets_a_session(club):
    with pytest.raises(AccountUnknownError):
        start(club, "user-9")
    put(club, ADA, is_disabled=True)
    with pytest.raises(AccountDisabledError):
        start(club)


def test_a_disabled_account_is_signed_out_and_stays_so(club):
    pair = start(club)
    put(club, ADA, is_disabled=True)
    with pytest.raises(TokenInvalidError):
        refresh(club, pair.refresh_token)
    assert found(club) == []
    put(club, ADA)
    with pytest.raises(TokenUsedError):
        refresh(club, pair.refresh_token)


@pytest.mark.parametrize("change", ["UPDATE accounts SET is_disabled = true", "DELETE FROM accounts"])
def test_who_may_not_sign_in_may_not_refresh_and_a_stranger_does_not_hear_why(club, change):
    """Also where nobody told the sessions of it."""
    pair = start(club)
    club.execute(change)
    with pytest.raises(TokenInvalidError):
        refresh(club, pair.refresh_token)
    put(club, ADA)
    assert refresh(club, pair.refresh_token).session_id == pair.session_id


def test_without_a_directory_callers_are_believed(club):
    pair = start(club)
    desk = replace(club.parts.get(Desk), directory=None)
    club.execute("DELETE FROM accounts")
    with club.sessions.begin() as session:
        outcome = rotation.refresh(session, desk, pair.refresh_token, SHOP)
    assert rotation.granted(outcome).session_id == pair.session_id


def test_erasing_an_account_forgets_its_sessions(club):
    put(club, "user-2")
    pairs, other = [start(club), start(club)], start(club, "user-2")
    refresh(club, pairs[0].refresh_token)
    with club.sessions.begin() as session:
        erased = accounts.erase(session, club.parts.get(Followers), ADA, SHOP)
    assert erased["sessions"] == 2
    assert club.execute(select(UserSession.id)) == [(other.session_id,)]
    assert club.execute(select(RefreshToken.session_id)) == [(other.session_id,)]
    with pytest.raises(TokenInvalidError):
        refresh(club, pairs[1].refresh_token)


def test_the_database_itself_lets_no_family_fork(club):
    """T26: GHSA-392p-2q2v-4372"""
    pair = start(club)
    refresh(club, pair.refresh_token)
    [child] = club.execute(select(RefreshToken).where(RefreshToken.parent_id.is_not(None)))
    twin = {**child._mapping, "id": uuid4(), "token_hash": b"x" * 32}
    with pytest.raises(IntegrityError):
        club.execute(RefreshToken.__table__.insert().values(twin))
