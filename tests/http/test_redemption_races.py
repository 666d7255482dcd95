"""Many redeem at the same moment over HTTP, on PostgreSQL: one gets in, and of many codes five are compared."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import func, select

from email_service.audit.models import AuditEvent
from email_service.tokens.models import Token
from email_service.tokens.redemption import MAX_CODE_TRIES
from tests.applications import Api, House, empty, opened
from tests.crowd import CALLERS, ROUNDS, UNLIMITED
from tests.strangers import ADA, Stranger, issue

Answer = tuple[int, dict]
pytestmark = pytest.mark.timeout(1800)  # 200 rounds on a busy machine take their time


@pytest.fixture
def house(postgres_house) -> Iterator[House]:
    """Where nobody calls too often."""
    empty(postgres_house)
    with opened(str(postgres_house.app.config["SQLALCHEMY_DATABASE_URI"]), **UNLIMITED) as house:
        yield house


@pytest.fixture
def key(house) -> str:
    """An API key, for the calls of a main app."""
    return house.add_client()


def consume(house: House, attempt: str | None = None, **shown: str) -> Answer:
    response = Stranger(house).consume(attempt, **shown)
    return response.status_code, response.json


def consume_with_key(house: House, api_key: str, **shown: str) -> Answer:
    response = Api(house, api_key).post("/v1/tokens/consume", json=shown)
    return response.status_code, response.json


def on_both_sides(key: str, codes: list[str]) -> list[partial]:
    """A call with each code, by turns from a browser and from a main app."""
    ways = (consume, partial(consume_with_key, api_key=key))
    shown = {"purpose": "login_code", "email": ADA}
    return [partial(ways[number % 2], code=code, **shown) for number, code in enumerate(codes)]


def outcomes(answers: list[Answer]) -> Counter:
    return Counter((status, told.get("code")) for status, told in answers)


def newest(house: House) -> tuple[UUID, bool, int]:
    """The token that was issued last: its id, whether it was consumed, and how often its code was tried."""
    wanted = select(Token.id, Token.consumed_at.is_not(None), Token.code_try_count)
    return tuple(house.execute(wanted.order_by(Token.id.desc()).limit(1))[0])


def consumed(house: House) -> int:
    return house.execute(select(func.count()).where(AuditEvent.name == "token.consumed"))[0][0]


def wrong(code: str, count: int) -> list[str]:
    return [f"{(int(code) + number) % 10**6:06}" for number in range(1, count + 1)]


def read(assertion: str) -> dict:
    payload = assertion.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_of_many_who_show_one_token_one_gets_in(house, crowd):
    """T6"""
    for number in range(1, ROUNDS + 1):
        token = issue(house)["token"]
        answers = crowd.race([partial(consume, token=token)] * CALLERS)
        assert outcomes(answers) == {(200, None): 1, (400, "token_used"): CALLERS - 1}
        token_id, is_consumed, _ = newest(house)
        assert is_consumed
        assert [read(told["assertion"])["jti"] for status, told in answers if status == 200] == [str(token_id)]
        assert consumed(house) == number
        crowd.tally.outcomes["one winner"] += 1


def test_many_tries_of_one_attempt_get_one_answer(house, crowd):
    """T6: a lost reply burns no link, and another attempt gets nothing."""
    for number in range(1, ROUNDS + 1):
        token = issue(house)["token"]
        answers = crowd.race([partial(consume, attempt="attempt-1", token=token)] * CALLERS)
        assert outcomes(answers) == {(200, None): CALLERS}
        told = [answer for _, answer in answers]
        assert {(each["purpose"], each["subject"], each["email"]) for each in told} == {("password_reset", "u-1", ADA)}
        token_id, is_consumed, _ = newest(house)
        assert {read(each["assertion"])["jti"] for each in told} == {str(token_id)}
        assert is_consumed
        assert consumed(house) == number
        assert outcomes([consume(house, "attempt-2", token=token)]) == {(400, "token_used"): 1}
        crowd.tally.outcomes["one winner, one answer"] += 1


def test_of_two_attempts_at_once_one_gets_in(house, crowd):
    """T6: all tries of it, and none of the other."""
    for number in range(1, ROUNDS + 1):
        token = issue(house)["token"]
        one, other = (partial(consume, attempt=name, token=token) for name in ("attempt-1", "attempt-2"))
        answers = crowd.race([one, other] * (CALLERS // 2))
        won = {(200, None): CALLERS // 2}
        lost = {(400, "token_used"): CALLERS // 2}
        assert [outcomes(answers[::2]), outcomes(answers[1::2])] in ([won, lost], [lost, won])
        assert consumed(house) == number
        crowd.tally.outcomes["first" if outcomes(answers[::2]) == won else "second"] += 1


def test_of_many_who_show_the_right_code_one_gets_in(house, key, crowd):
    """T6"""
    for number in range(1, ROUNDS + 1):
        code = issue(house, "login_code")["code"]
        answers = crowd.race(on_both_sides(key, [code] * CALLERS))
        assert outcomes(answers) == {(200, None): 1, (400, "token_invalid"): CALLERS - 1}
        _, is_consumed, tries = newest(house)
        assert is_consumed
        assert 1 <= tries <= MAX_CODE_TRIES
        assert consumed(house) == number
        crowd.tally.outcomes["one winner"] += 1


def test_of_many_wrong_codes_five_are_counted_and_the_right_one_comes_too_late(house, key, crowd):
    """T4"""
    for _ in range(ROUNDS):
        code = issue(house, "login_code")["code"]
        answers = crowd.race(on_both_sides(key, wrong(code, CALLERS)))
        assert outcomes(answers) == {(400, "token_invalid"): CALLERS}
        assert newest(house)[1:] == (False, MAX_CODE_TRIES)
        late = [call(house) for call in on_both_sides(key, [code] * 2)]
        assert outcomes(late) == {(400, "token_invalid"): 2}
        crowd.tally.outcomes["dead"] += 1
    assert consumed(house) == 0


def test_the_right_code_among_many_wrong_ones_seldom_gets_in(house, key, crowd):
    """T4: chance puts it among the five that are compared in one round of 13. Counted too late, it would always win."""
    for _ in range(ROUNDS):
        code = issue(house, "login_code")["code"]
        right, *rest = crowd.race(on_both_sides(key, [code, *wrong(code, CALLERS - 1)]))
        assert outcomes(rest) == {(400, "token_invalid"): CALLERS - 1}
        is_in = right[0] == 200
        assert outcomes([right]) == {(200, None) if is_in else (400, "token_invalid"): 1}
        _, is_consumed, tries = newest(house)
        assert is_consumed == is_in
        assert (1 if is_in else MAX_CODE_TRIES) <= tries <= MAX_CODE_TRIES
        crowd.tally.outcomes["in" if is_in else "out"] += 1
    assert consumed(house) == crowd.tally.outcomes["in"]
    # Of 20 rounds, one run in ten million has more.
    assert crowd.tally.outcomes["in"] <= ROUNDS // 2
