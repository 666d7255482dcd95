"""Tokens and codes are looked at and redeemed: once, in time, for their purpose, and a code in five tries at most."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from email_service.kernel.derivation import Deriver
from email_service.kernel.errors import (
    TokenExpiredError,
    TokenInvalidError,
    TokenUsedError,
)
from email_service.kernel.orm import database_now
from email_service.tokens import redemption
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.redemption import MAX_CODE_TRIES
from tests.token_mail import SHOP, by_code, by_link, consume, issue, look, secrets_of

CODED = [purpose for purpose, rule in RULES.items() if rule.has_code]


@pytest.fixture
def client_of(either, add_client):
    return add_client(either)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def test_a_token_is_for_its_own_purpose_only(either, client_of):
    """T8: every purpose's token and code, presented for every other one."""
    made = {purpose: secrets_of(either, issue(either, client_of, purpose)) for purpose in Purpose}
    for purpose, (token, code) in made.items():
        for other in frozenset(Purpose) - {purpose}:
            if token:
                for act in (look, lambda house, p, t: consume(house, by_link(p, t))):
                    with pytest.raises(TokenInvalidError):
                        act(either, other, token)
            if code and code != made[other][1]:
                with pytest.raises(TokenInvalidError):
                    consume(either, by_code(other, code))
        assert consume(either, by_link(purpose, token) if token else by_code(purpose, code)).purpose == purpose


def test_looking_consumes_nothing_and_a_second_consume_is_refused(either, client_of):
    token, _ = secrets_of(either, issue(either, client_of))
    for _ in range(3):
        look(either, Purpose.PASSWORD_RESET, token)
    consume(either, by_link(Purpose.PASSWORD_RESET, token))
    for act in (look, lambda house, p, t: consume(house, by_link(p, t))):
        with pytest.raises(TokenUsedError):
            act(either, Purpose.PASSWORD_RESET, token)


def test_link_and_code_of_one_mail_are_one_token(either, client_of):
    token, code = secrets_of(either, issue(either, client_of, Purpose.MAGIC_LINK))
    consume(either, by_code(Purpose.MAGIC_LINK, code))
    with pytest.raises(TokenUsedError):
        consume(either, by_link(Purpose.MAGIC_LINK, token))


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "ä" * 43, "\ud800"])
def test_what_was_never_issued_is_invalid(either, client_of, token):
    issue(either, client_of)
    for act in (look, lambda house, p, t: consume(house, by_link(p, t))):
        with pytest.raises(TokenInvalidError):
            act(either, Purpose.PASSWORD_RESET, token)


@pytest.mark.parametrize("purpose", [Purpose.PASSWORD_RESET, Purpose.LOGIN_CODE])
def test_a_token_ends_by_the_databases_clock(either, client_of, purpose):
    """T5: a minute before its end it works, at its end and a second later it does not."""
    for seconds, is_live in ((60, True), (0, False), (-1, False)):
        issued = issue(either, client_of, purpose)
        token, code = secrets_of(either, issued)
        ends_at = database_now(timedelta(seconds=seconds))
        either.execute(update(Token).where(Token.id == issued.id).values(expires_at=ends_at))
        presented = by_link(purpose, token) if token else by_code(purpose, code)
        if is_live:
            assert consume(either, presented).id == issued.id
            continue
        expected = TokenExpiredError if token else TokenInvalidError
        with pytest.raises(expected):
            consume(either, presented)
        if token:
            with pytest.raises(TokenExpiredError):
                look(either, purpose, token)


@pytest.mark.parametrize("purpose", CODED)
def test_five_wrong_codes_kill_a_code(either, client_of, purpose):
    """T4: the sixth is refused although it is the right one, and the link of the same mail still works."""
    issued = issue(either, client_of, purpose)
    token, code = secrets_of(either, issued)
    for _ in range(MAX_CODE_TRIES):
        with pytest.raises(TokenInvalidError):
            consume(either, by_code(purpose, wrong(code)))
    with pytest.raises(TokenInvalidError):
        consume(either, by_code(purpose, code))
    assert either.execute("SELECT code_try_count FROM tokens") == [(MAX_CODE_TRIES,)]
    if token:
        assert consume(either, by_link(purpose, token)).id == issued.id


def test_the_fifth_guess_may_be_the_right_one(either, client_of):
    """T4"""
    code = secrets_of(either, issue(either, client_of, Purpose.LOGIN_CODE))[1]
    for _ in range(MAX_CODE_TRIES - 1):
        with pytest.raises(TokenInvalidError):
            consume(either, by_code(Purpose.LOGIN_CODE, wrong(code)))
    assert consume(either, by_code(Purpose.LOGIN_CODE, code, "ADA@example.com")).subject == "u-1"


def test_a_guess_stays_counted_when_what_follows_it_fails(either, client_of):
    """T4"""
    code = secrets_of(either, issue(either, client_of, Purpose.LOGIN_CODE))[1]
    presented = by_code(Purpose.LOGIN_CODE, code)
    with either.sessions.begin() as session:
        guess = redemption.count_guess(session.connection(), presented, SHOP)
    with either.sessions() as session:
        evidence = redemption.weigh(either.parts.get(Deriver), presented, guess)
        redemption.redeem(session.connection(), evidence, SHOP)
        session.rollback()
    assert either.execute("SELECT code_try_count FROM tokens") == [(1,)]
    assert consume(either, presented).subject == "u-1"


def test_of_two_subjects_with_one_address_the_newest_mail_is_meant(either, client_of):
    """T4: and an older one does not add its tries to those of the newest."""
    old, new = (issue(either, client_of, Purpose.LOGIN_CODE, subject=subject) for subject in ("u-1", "u-2"))
    codes = [secrets_of(either, token)[1] for token in (old, new)]
    if codes[0] != codes[1]:
        with pytest.raises(TokenInvalidError):
            consume(either, by_code(Purpose.LOGIN_CODE, codes[0]))
    assert consume(either, by_code(Purpose.LOGIN_CODE, codes[1])).subject == "u-2"
    assert either.execute("SELECT code_try_count FROM tokens WHERE subject = 'u-1'") == [(0,)]
    assert consume(either, by_code(Purpose.LOGIN_CODE, codes[0])).subject == "u-1"


def test_a_code_of_another_address_is_invalid(either, client_of):
    code = secrets_of(either, issue(either, client_of, Purpose.LOGIN_CODE))[1]
    with pytest.raises(TokenInvalidError):
        consume(either, by_code(Purpose.LOGIN_CODE, code, "eve@example.com"))
    assert either.execute("SELECT code_try_count FROM tokens") == [(0,)]


def test_whoever_redeemed_it_may_repeat_the_call_for_a_while(either, client_of):
    token = secrets_of(either, issue(either, client_of))[0]
    presented = by_link(Purpose.PASSWORD_RESET, token)
    first = consume(either, presented, "key-1")
    assert consume(either, presented, "key-1").id == first.id
    for other in ("key-2", None):
        with pytest.raises(TokenUsedError):
            consume(either, presented, other)
    either.execute(update(Token).values(consumed_at=database_now(-redemption.REPEATABLE_FOR)))
    with pytest.raises(TokenUsedError):
        consume(either, presented, "key-1")
    assert [row[0] for row in either.execute("SELECT name FROM audit_events ORDER BY id")] == [
        "token.issued",
        "token.consumed",
    ]
