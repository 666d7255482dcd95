"""What happens to tokens at the same moment, on PostgreSQL: one winner, and an answer for everybody else."""

from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from email_service.audit.models import AuditEvent
from email_service.kernel import clock
from email_service.kernel.errors import BadRequestError
from email_service.kernel.orm import first_id_at, new_id
from email_service.messages.models import Message
from email_service.retention.policy import Policy
from email_service.retention.purge import Purge
from email_service.tokens import redemption
from email_service.tokens import service as tokens
from email_service.tokens.models import Token
from email_service.tokens.purposes import Purpose
from tests.crowd import CALLERS, ROUNDS
from tests.token_mail import ADA, SHOP, by_code, by_link, consume, issue, secrets_of

RESET, CODE = Purpose.PASSWORD_RESET, Purpose.LOGIN_CODE
POLICY = Policy(retention_days=90, content_retention_days=7, audit_retention_days=365)
WON = "won"
HALF = CALLERS // 2
pytestmark = pytest.mark.timeout(1800)  # 200 rounds on a busy machine take their time


@pytest.fixture
def house(on_postgres):
    return on_postgres


@pytest.fixture
def client_id(house, add_client):
    return add_client(house)


def redeem(house, token: str) -> str:
    try:
        consume(house, by_link(RESET, token))
    except BadRequestError as error:
        return error.code
    return WON


def revoke(house) -> int:
    with house.sessions.begin() as session:
        return tokens.revoke(session, "u-1", RESET, SHOP)


def replace(house, client_id: UUID, purpose: Purpose = RESET, is_delivered: bool = True) -> UUID:
    return issue(house, client_id, purpose, is_delivered=is_delivered).id


def issuers(count: int, **order) -> list[partial]:
    """A quarter of them has the token mailed, which takes much longer than to hand it over."""
    return [partial(replace, is_delivered=number % 4 == 0, **order) for number in range(count)]


def guess(house) -> bool:
    """Whether this guess is one that gets to be compared."""
    with house.sessions.begin() as session:
        return redemption.count_guess(session.connection(), by_code(CODE, "000000"), SHOP) is not None


def sweep(house) -> int:
    return Purge(house.sessions, POLICY).run(lambda _: None)["tokens"]


def live(house) -> list:
    return [row.id for row in house.execute(select(Token.id).where(tokens.is_live()))]


def live_of(house, purpose: Purpose) -> list:
    return [row.id for row in house.execute(select(Token.id).where(tokens.is_live(), Token.purpose == purpose))]


def ends(house, token_id: UUID) -> tuple[bool, bool]:
    """Whether the token was consumed, and whether it was revoked."""
    ended = (Token.consumed_at.is_not(None), Token.revoked_at.is_not(None))
    return tuple(house.execute(select(*ended).where(Token.id == token_id))[0])


def audited(house, name: str) -> int:
    return house.execute(select(func.count()).where(AuditEvent.name == name))[0][0]


def expire(house, token_id: UUID) -> None:
    """Let the token have ended more than a week ago."""
    issued_at, expires_at = (clock.now() - timedelta(days=days) for days in (20, 8))
    old_id = UUID(int=first_id_at(issued_at).int | new_id().int & (1 << 76) - 1)
    changed = {"id": old_id, "issued_at": issued_at, "expires_at": expires_at}
    house.execute(update(Token).where(Token.id == token_id).values(changed))


def test_of_many_guesses_at_once_five_reach_the_comparison(house, client_id, crowd):
    """T4"""
    for _ in range(ROUNDS):
        token = issue(house, client_id, CODE, is_delivered=False)
        assert crowd.race([guess] * CALLERS).count(True) == redemption.MAX_CODE_TRIES
        counts = house.execute(select(Token.code_try_count).where(Token.id == token.id))
        assert counts == [(redemption.MAX_CODE_TRIES,)]
        crowd.tally.outcomes["five counted"] += 1


def test_a_token_is_redeemed_or_revoked_and_never_both(house, client_id, crowd):
    """T6"""
    for number in range(1, ROUNDS + 1):
        token = issue(house, client_id, is_delivered=False)
        redeemers = [partial(redeem, token=secrets_of(house, token)[0])] * HALF
        answers = crowd.race([*redeemers, *[revoke] * HALF])
        redeemed, revoked = Counter(answers[:HALF]), sum(answers[HALF:])
        assert redeemed[WON] + revoked == 1
        assert redeemed[WON] + redeemed["token_used"] == HALF
        assert ends(house, token.id) == (redeemed[WON] == 1, revoked == 1)
        assert live(house) == []
        assert audited(house, "token.consumed") + audited(house, "token.revoked") == number
        crowd.tally.outcomes["revoked" if revoked else "redeemed"] += 1


def test_a_token_is_redeemed_or_replaced_and_one_new_one_lives(house, client_id, crowd):
    """T6, T7"""
    for _ in range(ROUNDS):
        old = issue(house, client_id)
        redeemers = [partial(redeem, token=secrets_of(house, old)[0])] * HALF
        answers = crowd.race([*redeemers, *issuers(HALF, client_id=client_id)])
        redeemed, new = Counter(answers[:HALF]), answers[HALF:]
        is_redeemed = redeemed[WON] == 1
        assert redeemed["token_used"] == HALF - is_redeemed
        assert ends(house, old.id) == (is_redeemed, not is_redeemed)
        # What was redeemed was mailed, so far as anybody knows; what was replaced is not sent any more.
        assert house.message(old.message_id).status == ("queued" if is_redeemed else "expired")
        [survivor] = live(house)
        assert len({*new}) == HALF
        assert survivor in new
        with house.sessions() as session:
            newest = session.get_one(Token, survivor)
        assert redeem(house, secrets_of(house, newest)[0]) == WON
        crowd.tally.outcomes["redeemed" if is_redeemed else "replaced"] += 1


def test_expired_ones_that_are_swept_away_are_never_redeemed(house, client_id, crowd):
    """T6: and a sweep that many make at once takes each of them once, and nothing that is live."""
    for _ in range(ROUNDS):
        token = issue(house, client_id, is_delivered=False)
        old = [issue(house, client_id, subject=f"old-{number}", is_delivered=False) for number in range(4)]
        late = [partial(redeem, token=secrets_of(house, each)[0]) for each in old]
        for each in old:
            expire(house, each.id)
        answers = crowd.race([*[partial(redeem, token=secrets_of(house, token)[0])] * 24, *late * 8, *[sweep] * 8])
        assert Counter(answers[:24]) == {WON: 1, "token_used": 23}
        assert {*answers[24:56]} <= {"token_expired", "token_invalid"}
        assert sum(answers[56:]) == len(old)
        assert ends(house, token.id) == (True, False)
        assert house.execute(select(Token.subject).distinct()) == [("u-1",)]
        crowd.tally.outcomes["one redeemed, four swept away"] += 1


def test_of_many_that_are_issued_at_once_one_lives(house, client_id, crowd):
    """T7: nobody fails, and at most one mail is left to be sent."""
    for number in range(ROUNDS):
        purpose = (RESET, Purpose.MAGIC_LINK)[number % 2]
        issued = crowd.race(issuers(CALLERS, client_id=client_id, purpose=purpose))
        assert len({*issued}) == CALLERS
        [survivor] = live_of(house, purpose)
        mailed = select(Token.id, Message.status).join(Message, Message.id == Token.message_id)
        statuses = dict(house.execute(mailed.where(Token.id.in_(issued))))
        assert {*statuses} == {*issued[::4]}
        assert survivor in issued
        assert [each for each, status in statuses.items() if status != "expired"] == [survivor] * (survivor in statuses)
        assert statuses.get(survivor, "queued") == "queued"
        crowd.tally.outcomes["mailed" if survivor in statuses else "handed over"] += 1
    left = house.execute(select(Message.id).where(Message.status == "queued"))
    assert len(left) == house.deliver() <= 2


def test_different_subjects_do_not_wait_for_each_other(house, client_id):
    """T7: the turn belongs to one subject and purpose."""
    with house.sessions() as session:
        tokens._take_turn(session, "u-1", RESET)
        issue(house, client_id, subject="u-2")
        issue(house, client_id, Purpose.MAGIC_LINK)
    assert len(live(house)) == 2
    assert {row.email for row in house.execute(select(Token.email))} == {ADA}
