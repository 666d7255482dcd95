"""Who hears that a token was redeemed: the reader of the present address, when another one is confirmed."""

from contextlib import suppress

import pytest
from sqlalchemy import select

from email_service.kernel.errors import TokenUsedError
from email_service.messages.models import Message
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.redemption import Presented
from tests.races import together
from tests.strangers import put_account
from tests.token_mail import ADA, by_code, by_link, consume, issue, secrets_of

NEW = "new@example.com"
CHANGE = Purpose.EMAIL_CHANGE


@pytest.fixture
def client_of(either, add_client):
    return add_client(either)


def token_of(house, client_id, purpose: Purpose = CHANGE, **fields) -> Presented:
    token, code = secrets_of(house, issue(house, client_id, purpose, is_delivered=False, **fields))
    return by_link(purpose, token) if token else by_code(purpose, code, fields["email"])


def notices(house) -> list[tuple]:
    columns = (Message.recipient_email, Message.template, Message.lane, Message.locale, Message.client_id)
    return [tuple(row) for row in house.execute(select(*columns))]


def test_the_present_address_hears_that_another_one_was_confirmed(either, client_of):
    put_account(either, name="Ada", locale="de")
    presented = token_of(either, client_of, email=NEW)
    assert notices(either) == []
    assert consume(either, presented, "key-1").email == NEW
    assert notices(either) == [(ADA, "email-changed", "transactional", "de", client_of)]
    consume(either, presented, "key-1")
    with pytest.raises(TokenUsedError):
        consume(either, presented)
    assert len(notices(either)) == 1
    either.deliver()
    [mail] = either.captured()
    assert b"Ada" in mail.source


@pytest.mark.parametrize("purpose", [each for each in RULES if each is not CHANGE])
def test_no_other_purpose_tells_anybody(either, client_of, purpose):
    put_account(either)
    consume(either, token_of(either, client_of, purpose, email=NEW))
    assert notices(either) == []


@pytest.mark.parametrize("email", [ADA, "ADA@Example.com"])
def test_who_confirms_the_present_address_hears_nothing(either, client_of, email):
    put_account(either)
    consume(either, token_of(either, client_of, email=email))
    assert notices(either) == []


def test_nobody_hears_of_an_account_that_is_not_known(either, client_of):
    consume(either, token_of(either, client_of, email=NEW))
    assert notices(either) == []


def test_the_notice_stands_or_falls_with_the_redemption(either, client_of, monkeypatch):
    put_account(either)
    presented = token_of(either, client_of, email=NEW)
    monkeypatch.setattr("email_service.tokens.notices._TEMPLATE", "nowhere")
    with pytest.raises(Exception, match="nowhere"):
        consume(either, presented)
    monkeypatch.undo()
    consume(either, presented)
    assert len(notices(either)) == 1


def test_of_many_who_redeem_it_at_once_one_causes_the_notice(on_postgres, add_client):
    """T6: while the account is changed too, in the order in which locks are taken."""
    put_account(on_postgres)
    presented = token_of(on_postgres, add_client(on_postgres), email=NEW)

    def redeem() -> bool:
        try:
            consume(on_postgres, presented)
        except TokenUsedError:
            return False
        return True

    won = together([redeem] * 8)
    assert won.count(True) == 1
    assert len(notices(on_postgres)) == 1


def test_a_change_of_the_account_and_a_redemption_do_not_wait_for_each_other_for_good(on_postgres, add_client):
    """T7: whoever comes second finds what the first one left."""
    client_id = add_client(on_postgres)
    for number in range(10):
        put_account(on_postgres, f"ada{number}@example.com")
        presented = token_of(on_postgres, client_id, email=NEW)

        def redeem(shown: Presented = presented) -> None:
            with suppress(TokenUsedError):
                consume(on_postgres, shown)

        def move(email: str = f"moved{number}@example.com") -> None:
            put_account(on_postgres, email)

        together([redeem, move])
        told = [row[0] for row in notices(on_postgres)]
        # Redeemed before the move, the notice went to the address of that time; after it, the token was revoked.
        assert told.count(f"ada{number}@example.com") <= 1
        assert not [email for email in told if email.startswith("moved")]
        with pytest.raises(TokenUsedError):
            consume(on_postgres, presented)
