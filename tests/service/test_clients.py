"""Clients and their API keys: who holds one, what it opens and when it stops."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select
from time_machine import travel

from email_service.clients import service as clients
from email_service.clients.models import ApiKey, Client
from email_service.kernel import clock, crypto
from email_service.kernel.errors import ConflictError, InvalidInputError, NotFoundError, UnauthenticatedError


@pytest.fixture
def session(house):
    with house.sessions() as session:
        yield session


def names(session, key: str) -> str | None:
    """Whose key this is, or None when it opens nothing."""
    try:
        return clients.authenticate(session, key).name
    except UnauthenticatedError:
        return None


def test_a_key_is_256_random_bits_behind_an_id_that_is_no_secret(session):
    """T24"""
    keys = [clients.create(session, f"client {number}", ["*"])[1] for number in range(20)]
    assert all(re.fullmatch(r"esk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert len(set(keys)) == 20


def test_the_database_holds_no_key(house):
    """T24, T2"""
    key = house.add_client()
    _, public_id, secret = key.split("_", 2)
    rows = str(house.execute("SELECT * FROM api_keys")) + str(house.execute("SELECT * FROM clients"))
    assert public_id in rows
    assert secret not in rows
    [(digest,)] = house.execute(select(ApiKey.secret_hash))
    assert digest == crypto.hash_secret(secret)


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: "esk_000000000000_" + key.split("_", 2)[2],
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key.upper(),
        lambda key: f" {key}",
        lambda key: key.split("_", 2)[2],
        lambda key: "",
        lambda key: "\ud800",
        lambda key: "esk_" + "a" * 100_000,
    ],
)
def test_anything_but_the_key_itself_opens_nothing(session, damage):
    """T24"""
    _, key = clients.create(session, "shop", ["*"])
    assert names(session, key) == "shop"
    assert names(session, damage(key)) is None


def test_the_error_is_the_same_for_every_reason(session):
    """T24"""
    _, key = clients.create(session, "shop", ["*"])
    _, revoked = clients.create(session, "gone", ["*"])
    clients.revoke(session, "gone")
    said = set()
    for presented in (revoked, key[:-1] + "!", "esk_000000000000_" + "A" * 43, ""):
        with pytest.raises(UnauthenticatedError) as caught:
            clients.authenticate(session, presented)
        said.add((caught.value.code, caught.value.detail))
    assert len(said) == 1


def test_a_revoked_client_is_out_at_once(session):
    """T24"""
    _, key = clients.create(session, "shop", ["*"])
    clients.revoke(session, "shop")
    assert names(session, key) is None
    with pytest.raises(ConflictError):
        clients.rotate(session, "shop")


def test_a_single_revoked_key_is_out_and_its_sister_is_not(session):
    """T24"""
    _, old = clients.create(session, "shop", ["*"])
    new = clients.rotate(session, "shop")
    session.scalars(select(ApiKey).order_by(ApiKey.id)).first().revoked_at = clock.now()
    session.flush()
    assert names(session, old) is None
    assert names(session, new) == "shop"


def test_both_keys_work_until_the_rotation_is_over(session):
    """T24, F16"""
    with travel(clock.now(), tick=False) as traveller:
        _, old = clients.create(session, "shop", ["*"])
        new = clients.rotate(session, "shop", timedelta(hours=1))
        traveller.shift(3599)
        assert (names(session, old), names(session, new)) == ("shop", "shop")
        traveller.shift(1)
        assert (names(session, old), names(session, new)) == (None, "shop")


def test_a_second_rotation_never_lengthens_the_life_of_an_old_key(session):
    """T24"""
    with travel(clock.now(), tick=False) as traveller:
        _, first = clients.create(session, "shop", ["*"])
        clients.rotate(session, "shop", timedelta(hours=1))
        clients.rotate(session, "shop", timedelta(hours=24))
        traveller.shift(3601)
        assert names(session, first) is None


def test_the_last_use_is_noted_to_the_minute(session):
    """T24"""
    started_at = clock.now()
    with travel(started_at, tick=False) as traveller:
        _, key = clients.create(session, "shop", ["*"])
        seen = []
        for seconds in (0, 30, 31):
            traveller.shift(seconds)
            clients.authenticate(session, key)
            session.expire_all()
            seen.append((session.scalar(select(ApiKey.last_used_at)) - started_at).total_seconds())
    assert seen == [0, 0, 61]


@pytest.mark.parametrize(
    ("held", "asked", "is_allowed"),
    [
        (["messages:send"], "messages:send", True),
        (["messages:send"], "messages:read", False),
        (["messages:*"], "messages:read", True),
        (["messages:*"], "templates:read", False),
        (["*"], "templates:read", True),
        (["messages:read", "templates:read"], "templates:read", True),
    ],
)
def test_a_scope_is_held_by_name_by_family_or_by_star(session, held, asked, is_allowed):
    """T24"""
    _, key = clients.create(session, "shop", held)
    assert clients.authenticate(session, key).may(asked) is is_allowed


@pytest.mark.parametrize("scopes", [[], ["messages:write"], ["everything"], ["**"], ["messages:send", ""]])
def test_a_scope_that_does_not_exist_is_refused(session, scopes):
    with pytest.raises(InvalidInputError):
        clients.create(session, "shop", scopes)


@pytest.mark.parametrize("name", ["", " shop", "a" * 101, "shop\n", "<b>", "\u202eshop"])
def test_a_name_that_would_spoil_a_table_is_refused(session, name):
    with pytest.raises(InvalidInputError):
        clients.create(session, name, ["*"])


def test_a_name_is_taken_once(session):
    clients.create(session, "shop", ["*"])
    with pytest.raises(ConflictError):
        clients.create(session, "shop", ["*"])


def test_who_does_not_exist_cannot_be_revoked(session):
    with pytest.raises(NotFoundError):
        clients.revoke(session, "shop")


def test_clients_are_listed_by_name(session):
    for name in ("zebra", "ant", "moth"):
        clients.create(session, name, ["*"])
    assert [client.name for client in clients.everyone(session)] == ["ant", "moth", "zebra"]


def test_postgresql_tells_the_same_about_a_key(on_postgres):
    """T24"""
    key = on_postgres.add_client()
    with on_postgres.sessions.begin() as session:
        assert names(session, key) == "shop"
        assert names(session, key[:-1]) is None
        session.get(Client, clients.get(session, "shop").id).revoked_at = clock.now()
        session.flush()
        assert names(session, key) is None


def test_a_client_can_have_a_rate_limit_of_its_own(session):
    client, key = clients.create(session, "big", ["*"], " 100/second ")
    assert (client.rate_limit, clients.authenticate(session, key).rate_limit) == ("100/second", "100/second")


@pytest.mark.parametrize("written", ["often", "", "100", "100/fortnight", ";".join(["100/second"] * 10)])
def test_a_rate_limit_that_means_nothing_is_refused(session, written):
    with pytest.raises(InvalidInputError) as raised:
        clients.create(session, "big", ["*"], written)
    assert [fault.pointer for fault in raised.value.faults] == ["/rate_limit"]


def test_the_client_of_strangers_gets_no_key(house):
    """T24"""
    with house.sessions.begin() as session, pytest.raises(ConflictError, match="has no key"):
        clients.rotate(session, "(public)")
