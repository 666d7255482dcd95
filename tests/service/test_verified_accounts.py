"""Whoever redeems an email verification has proven the account's address, and no other one."""

import pytest

from email_service.accounts import service as accounts
from tests.applications import empty
from tests.hosted import VERIFICATION, post
from tests.strangers import ADA, Stranger, audited, issue, put_account


@pytest.fixture
def house(sqlite_house):
    empty(sqlite_house)
    return sqlite_house


def is_verified(house, subject="u-1") -> bool:
    with house.sessions() as session:
        return accounts.get(session, subject).email_verified


def test_a_redeemed_verification_proves_the_accounts_address_once(house):
    put_account(house)
    shown = issue(house, "email_verification")
    assert [post(Stranger(house), VERIFICATION, {"token": shown["token"]}).status_code for _ in range(2)] == [200, 400]
    assert is_verified(house)
    changed = [data for name, _, data in audited(house, "account.") if name == "account.changed"]
    assert changed == [{"reason": "email_verified"}]


def test_another_address_than_the_accounts_own_proves_nothing(house):
    put_account(house)
    token = issue(house, "email_verification", email="other@example.com")["token"]
    assert Stranger(house).consume(purpose="email_verification", token=token).status_code == 200
    assert not is_verified(house)


@pytest.mark.parametrize("purpose", ["password_reset", "magic_link", "email_change"])
def test_another_purpose_proves_nothing(house, purpose):
    put_account(house)
    token = issue(house, purpose)["token"]
    assert Stranger(house).consume(purpose=purpose, token=token).status_code == 200
    assert not is_verified(house)


def test_what_cannot_be_redeemed_proves_nothing(house):
    put_account(house)
    token = issue(house, "email_verification", email=ADA)["token"]
    house.execute("UPDATE tokens SET expires_at = issued_at")
    assert Stranger(house).consume(purpose="email_verification", token=token).status_code == 400
    assert not is_verified(house)
