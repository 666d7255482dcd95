"""Remembering keys for a minute: by their whole, and never the key itself."""

from uuid import UUID

import pytest
from time_machine import travel

from email_service.clients.keyring import Keyring
from email_service.clients.service import Caller
from email_service.kernel import clock

KEY = "esk_0123456789ab_" + "A" * 43
CALLER = Caller(UUID(int=1), UUID(int=2), "shop", frozenset({"*"}), None)


@pytest.fixture
def keyring() -> Keyring:
    keyring = Keyring()
    keyring.remember(KEY, CALLER)
    return keyring


def test_a_key_is_recalled_by_its_whole(keyring):
    """T24"""
    assert keyring.recall(KEY) is CALLER
    for other in (KEY[:-1] + "B", KEY[:16], KEY + "A", "", "\ud800"):
        assert keyring.recall(other) is None


def test_a_key_is_remembered_for_a_minute():
    """T24"""
    with travel(clock.now(), tick=False) as traveller:
        keyring = Keyring()
        keyring.remember(KEY, CALLER)
        traveller.shift(59)
        assert keyring.recall(KEY) is CALLER
        traveller.shift(2)
        assert keyring.recall(KEY) is None


def test_a_key_can_be_forgotten(keyring):
    keyring.forget(KEY)
    assert keyring.recall(KEY) is None


def test_a_keyring_holds_no_key_and_stays_small(keyring):
    """T2"""
    for number in range(5000):
        keyring.remember(f"esk_{number:012x}_" + "B" * 43, CALLER)
    assert len(keyring._by_start) <= 1024
    assert "B" * 43 not in str(keyring._by_start)
