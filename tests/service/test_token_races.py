"""What happens to tokens at the same moment, on PostgreSQL: one winner, and an answer for everybody else."""

import pytest
from sqlalchemy import select

from email_service.audit.models import AuditEvent
from email_service.kernel.errors import TokenInvalidError, TokenUsedError
from email_service.tokens import redemption
from email_service.tokens import service as tokens
from email_service.tokens.models import Token
from email_service.tokens.purposes import Purpose
from tests.races import ROUNDS, together
from tests.token_mail import ADA, SHOP, by_code, by_link, consume, issue, secrets_of

THREADS = 64
RESET = Purpose.PASSWORD_RESET


@pytest.fixture
def house(on_postgres):
    return on_postgres


@pytest.fixture
def client_id(house, add_client):
    return add_client(house)


def wins(house, presented) -> bool:
    try:
        consume(house, presented)
    except (TokenUsedError, TokenInvalidError):
        return False
    return True


def revoke(house) -> int:
    with house.sessions.begin() as session:
        return tokens.revoke(session, "u-1", RESET, SHOP)


def live(house) -> list:
    return [row.id for row in house.execute(select(Token.id).where(tokens.is_live()))]


def handed_over(house, client_id, purpose: Purpose = RESET) -> tuple[str | None, str | None]:
    return secrets_of(house, issue(house, client_id, purpose, is_delivered=False))


def test_of_many_who_redeem_one_token_one_wins(house, client_id):
    """T6"""
    for _ in range(ROUNDS):
        presented = by_link(RESET, handed_over(house, client_id)[0])
        assert together([lambda it=presented: wins(house, it)] * THREADS).count(True) == 1
    assert len(house.execute(select(AuditEvent.id).where(AuditEvent.name == "token.consumed"))) == ROUNDS


def test_of_many_who_redeem_one_code_one_wins(house, client_id):
    """T6: each guess is counted, so five at most have a chance."""
    for _ in range(3):
        presented = by_code(Purpose.LOGIN_CODE, handed_over(house, client_id, Purpose.LOGIN_CODE)[1])
        assert together([lambda it=presented: wins(house, it)] * 8).count(True) == 1


def test_of_many_guesses_at_once_five_reach_the_comparison(house, client_id):
    """T4"""
    for _ in range(3):
        handed_over(house, client_id, Purpose.LOGIN_CODE)

        def guess() -> bool:
            with house.sessions.begin() as session:
                presented = by_code(Purpose.LOGIN_CODE, "000000")
                return redemption.count_guess(session, presented) is not None

        assert together([guess] * 50).count(True) == redemption.MAX_CODE_TRIES
    assert house.execute(select(Token.code_try_count)) == [(redemption.MAX_CODE_TRIES,)] * 3


def test_a_token_is_redeemed_or_revoked_and_never_both(house, client_id):
    """T6"""
    outcomes = set()
    for _ in range(ROUNDS):
        presented = by_link(RESET, handed_over(house, client_id)[0])
        redeemers = [lambda it=presented: wins(house, it)] * 4
        *redeemed, revoked = together([*redeemers, lambda: revoke(house)])
        assert redeemed.count(True) + revoked == 1
        outcomes.add(revoked)
        assert live(house) == []
    assert outcomes <= {0, 1}


def test_a_token_is_redeemed_or_replaced_and_the_new_one_lives(house, client_id):
    """T6, T7"""
    for _ in range(ROUNDS):
        old = issue(house, client_id)
        presented = by_link(RESET, secrets_of(house, old)[0])
        is_redeemed, new = together([lambda it=presented: wins(house, it), lambda: issue(house, client_id)])
        [(consumed_at, revoked_at)] = house.execute(
            select(Token.consumed_at, Token.revoked_at).where(Token.id == old.id)
        )
        assert (consumed_at is not None, revoked_at is not None) == (is_redeemed, not is_redeemed)
        # What was redeemed was mailed, so far as anybody knows; what was replaced is not sent any more.
        assert house.message(old.message_id).status == ("queued" if is_redeemed else "expired")
        assert live(house) == [new.id]
        assert wins(house, by_link(RESET, secrets_of(house, new)[0]))


@pytest.mark.parametrize("purpose", [RESET, Purpose.MAGIC_LINK])
def test_of_many_that_are_issued_at_once_one_lives(house, client_id, purpose):
    """T7: nobody fails, and one mail is left to be sent."""
    issued = together([lambda: issue(house, client_id, purpose)] * THREADS)
    [survivor] = live(house)
    assert survivor in {token.id for token in issued}
    statuses = [house.message(token.message_id).status for token in issued]
    assert (statuses.count("queued"), statuses.count("expired")) == (1, THREADS - 1)
    [kept] = [token for token in issued if house.message(token.message_id).status == "queued"]
    assert kept.id == survivor
    assert house.deliver() == 1


def test_different_subjects_do_not_wait_for_each_other(house, client_id):
    """T7: the turn belongs to one subject and purpose."""
    with house.sessions() as session:
        tokens._take_turn(session, "u-1", RESET)
        issue(house, client_id, subject="u-2")
        issue(house, client_id, Purpose.MAGIC_LINK)
    assert len(live(house)) == 2
    assert {row.email for row in house.execute(select(Token.email))} == {ADA}
