"""Public requests, answered by a worker: mail for whom there is an account, an audit event for everybody else."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from email_service.clients.models import PUBLIC_CLIENT_ID
from email_service.kernel import clock
from email_service.messages.models import Message
from email_service.tokens import requests
from email_service.tokens.models import Token, TokenRequest
from email_service.tokens.purposes import Purpose
from email_service.tokens.requests import MAX_TRIES, Wish
from tests.log_capture import captured_logs, parsed
from tests.races import together
from tests.strangers import ADA, answer_requests, audited, put_account

LONG_AGO = timedelta(days=1)


def record(house, email: str = ADA, purpose: str = "password_reset", **more) -> None:
    wish = {"locale": None, "ip": "192.0.2.7", "request_id": "r-1", **more}
    with house.sessions.begin() as session:
        requests.record(session.connection(), Wish(purpose=Purpose(purpose), email=email, **wish))


def spoil(house, email: str) -> None:
    """Make the request for this address one that cannot be answered."""
    house.execute("UPDATE token_requests SET purpose = 'spoilt' WHERE email = :email", email=email)


def let_time_pass(house) -> None:
    house.execute(TokenRequest.__table__.update().values(due_at=clock.now() - LONG_AGO))


def waiting(house) -> list[tuple[str, int]]:
    return [tuple(row) for row in house.execute(select(TokenRequest.email, TokenRequest.try_count))]


def mailed(house) -> list[tuple[str, str]]:
    return [tuple(row) for row in house.execute(select(Message.recipient_email, Message.template).order_by(Message.id))]


def test_whoever_has_an_account_gets_a_token_by_mail(either):
    put_account(either, "Ada@Example.com", name="Ada", locale="de")
    record(either, "ADA@example.com", "magic_link", locale="pt-BR")
    assert answer_requests(either) == 1
    assert mailed(either) == [("Ada@Example.com", "magic-link")]
    [row] = either.execute(select(Token.subject, Token.purpose, Token.email, Token.client_id))
    assert tuple(row) == ("u-1", "magic_link", "Ada@Example.com", PUBLIC_CLIENT_ID)
    assert either.execute(select(Message.locale, Message.client_id)) == [("pt-BR", PUBLIC_CLIENT_ID)]
    assert (waiting(either), answer_requests(either)) == ([], 0)


@pytest.mark.parametrize(
    ("asked", "account", "said"),
    [
        (None, "de", "in 1 Stunde"),
        ("fr-CA", "de", "dans 1 heure"),
        ("zh-CN", None, "1小时后"),
        ("sw", "de", "in 1 hour"),
    ],
)
def test_the_mail_speaks_the_language_that_was_asked_for_or_else_the_accounts(house, asked, account, said):
    put_account(house, locale=account)
    record(house, locale=asked)
    answer_requests(house)
    house.deliver()
    [mail] = house.captured()
    assert said in mail.text


@pytest.mark.parametrize(
    ("ip", "is_told"),
    [("93.184.216.34", True), ("2606:2800:220:1::1", True), ("10.1.2.3", False), ("unknown", False)],
)
def test_the_mail_says_when_and_from_where_it_was_asked_for(house, ip, is_told):
    """What tells its reader whether it was themselves; an address inside our own network would not."""
    put_account(house)
    record(house, ip=ip)
    answer_requests(house)
    house.deliver()
    [mail] = house.captured()
    assert f"{clock.now():%B} {clock.now().day}, {clock.now().year}" in mail.text
    assert (ip in mail.text.replace("\u200c", "")) == is_told


@pytest.mark.parametrize(
    ("purpose", "profile", "reason"),
    [
        ("password_reset", None, "account_unknown"),
        ("password_reset", {"is_disabled": True}, "account_disabled"),
        ("login_code", {"is_disabled": True}, "account_disabled"),
        ("email_verification", {"email_verified": True}, "already_verified"),
    ],
)
def test_whoever_gets_none_is_audited_and_not_mailed(either, purpose, profile, reason):
    """T11"""
    if profile is not None:
        put_account(either, **profile)
    record(either, purpose=purpose)
    assert answer_requests(either) == 1
    assert (mailed(either), waiting(either), either.execute(select(Token.id))) == ([], [], [])
    assert audited(either) == [("token.request_refused", ADA, {"purpose": purpose, "reason": reason})]


def test_a_verified_account_gets_everything_else(either):
    put_account(either, email_verified=True)
    record(either, purpose="login_code")
    answer_requests(either)
    assert mailed(either) == [(ADA, "login-code")]


def test_the_audit_names_the_stranger(either):
    record(either, ip="2001:db8::1", request_id="r-7")
    answer_requests(either)
    [row] = either.execute("SELECT actor, client_id, ip, request_id FROM audit_events")
    assert tuple(row) == ("public", None, "2001:db8::1", "r-7")


def test_a_directory_of_nobody_mails_nobody(house, reopen):
    """DESIGN 4.6: ACCOUNT_DIRECTORY=none"""
    put_account(house)
    nobody = reopen(ACCOUNT_DIRECTORY="none")
    record(nobody)
    assert answer_requests(nobody) == 1
    assert mailed(house) == []


def test_a_request_that_fails_does_not_stop_those_behind_it(either):
    put_account(either)
    record(either, "spoilt@example.com")
    record(either)
    spoil(either, "spoilt@example.com")
    with captured_logs() as stream:
        assert answer_requests(either) == 2
    assert mailed(either) == [(ADA, "password-reset")]
    assert waiting(either) == [("spoilt@example.com", 1)]
    assert "token_request.failed" in stream.getvalue()
    assert "spoilt@example.com" not in stream.getvalue()
    assert answer_requests(either) == 0, "not due again yet"


def test_a_request_that_fails_eight_times_is_given_up_and_audited(either):
    record(either, "spoilt@example.com")
    spoil(either, "spoilt@example.com")
    with captured_logs() as stream:
        for tries in range(1, MAX_TRIES):
            assert answer_requests(either) == 1
            assert waiting(either) == [("spoilt@example.com", tries)]
            let_time_pass(either)
        assert answer_requests(either) == 1
    assert len(parsed(stream)) == MAX_TRIES
    assert waiting(either) == []
    assert audited(either) == [("token.request_given_up", "spoilt@example.com", {"purpose": "spoilt"})]


def test_each_pause_is_twice_the_one_before(either):
    record(either, "spoilt@example.com")
    spoil(either, "spoilt@example.com")
    pauses = []
    with captured_logs():
        for _ in range(MAX_TRIES - 1):
            before = clock.now()
            answer_requests(either)
            [(due_at,)] = either.execute(select(TokenRequest.due_at))
            pauses.append((due_at - before).total_seconds())
            let_time_pass(either)
    assert all(pause > 2**tries - 0.1 for tries, pause in enumerate(pauses, start=1)), pauses


def test_two_drains_at_once_answer_each_request_once(on_postgres):
    """F8"""
    emails = [f"user{number}@example.com" for number in range(30)]
    for number, email in enumerate(emails):
        put_account(on_postgres, email, f"u-{number}")
        record(on_postgres, email)
    counts = together([lambda: answer_requests(on_postgres)] * 4)
    assert sum(counts) == len(emails)
    assert sorted(mailed(on_postgres)) == sorted((email, "password-reset") for email in emails)
    assert on_postgres.execute(select(func.count(Token.id), func.count(Token.subject.distinct()))) == [(30, 30)]
    assert waiting(on_postgres) == []


def test_a_request_that_somebody_answers_is_passed_over(on_postgres):
    """F8"""
    put_account(on_postgres)
    record(on_postgres, "first@example.com")
    record(on_postgres)
    with on_postgres.sessions.begin() as session:
        held = session.scalar(select(TokenRequest).where(TokenRequest.email == "first@example.com").with_for_update())
        assert held is not None
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(answer_requests, on_postgres).result(20) == 1
    assert waiting(on_postgres) == [("first@example.com", 0)]
    assert mailed(on_postgres) == [(ADA, "password-reset")]


def test_requests_of_one_account_leave_one_live_token(on_postgres):
    """T7"""
    put_account(on_postgres)
    for _ in range(6):
        record(on_postgres)
    assert sum(together([lambda: answer_requests(on_postgres)] * 3)) == 6
    live = select(Token.id).where(Token.revoked_at.is_(None))
    assert len(on_postgres.execute(live)) == 1
    assert len(on_postgres.execute(select(Token.id))) == 6
