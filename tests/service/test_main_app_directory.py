"""A service that asks the main app who exists: nothing is held meanwhile, and what fails is tried again."""

import sqlite3
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from email_service.kernel import clock
from email_service.kernel.errors import AccountDisabledError, AccountUnknownError
from email_service.kernel.orm import database_now
from email_service.messages.models import Message
from email_service.tokens import requests
from email_service.tokens.models import Token, TokenRequest
from email_service.tokens.purposes import Purpose
from email_service.tokens.requests import LEASE_SECONDS, MAX_TRIES, Requests, Wish
from email_service.tokens.service import Office
from tests.applications import Api, House, opened
from tests.log_capture import captured_logs
from tests.main_app import MainApp, running
from tests.races import together
from tests.strangers import ADA, Stranger, answer_requests, audited
from tests.token_mail import issue

EVE = "eve@example.com"
RESET = {"purpose": "password_reset", "subject": "u-1"}
PERSON = {"subject": "u-1", "email": "Ada@example.com", "locale": "de"}


@pytest.fixture
def main_app():
    with running(MainApp(people={"u-1": dict(PERSON)})) as app:
        yield app


@pytest.fixture
def asking(either, main_app):
    """A service on each database that asks the main app."""
    with opened(str(either.app.config["SQLALCHEMY_DATABASE_URI"]), **main_app.variables) as house:
        yield house


def record(house: House, email: str = ADA) -> None:
    wish = Wish(purpose=Purpose.PASSWORD_RESET, email=email, locale=None, ip="192.0.2.7", request_id="r-1")
    with house.sessions.begin() as session:
        requests.record(session.connection(), wish)


def mailed(house: House) -> list[tuple[str, str]]:
    return [tuple(row) for row in house.execute(select(Message.recipient_email, Message.template).order_by(Message.id))]


def waiting(house: House) -> list[tuple[str, int]]:
    rows = house.execute(select(TokenRequest.email, TokenRequest.try_count).order_by(TokenRequest.email))
    return [tuple(row) for row in rows]


def let_time_pass(house: House) -> None:
    house.execute(update(TokenRequest).values(due_at=clock.now() - timedelta(days=1)))


def is_anything_held(house: House) -> bool:
    """Whether some transaction is open now, or keeps others from writing."""
    url = house.app.config["SQLALCHEMY_DATABASE_URI"]
    if url.startswith("postgresql"):
        held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        return house.execute(held) != [(0,)]
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


@pytest.fixture
def held(either, main_app):
    """Whether anything was held, each time that the main app was asked."""
    seen = []
    main_app.pause = lambda: seen.append(is_anything_held(either))
    return seen


def test_the_stored_address_gets_the_mail_and_nothing_is_held_while_the_main_app_is_asked(asking, main_app, held):
    """DESIGN 2.2, T14"""
    record(asking, "ADA@example.com")
    assert answer_requests(asking) == 1
    assert (main_app.asked, held) == ([{"email": "ADA@example.com"}], [False])
    assert (mailed(asking), waiting(asking)) == ([("Ada@example.com", "password-reset")], [])
    assert asking.execute(select(Message.locale)) == [("de",)]


def test_nothing_is_held_while_a_token_is_issued_under_a_key(asking, main_app, held):
    """DESIGN 2.2"""
    api = Api(asking, asking.add_client())
    answers = [api.post("/v1/tokens", json=RESET, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert (answers[0].json, held) == (answers[1].json, [False])
    assert mailed(asking) == [("Ada@example.com", "password-reset")]


@pytest.mark.parametrize("is_internal", [True, False])
def test_nothing_is_held_while_a_change_of_address_is_confirmed(asking, main_app, held, is_internal):
    """DESIGN 2.2, T34: and with the main app away it is not confirmed, for nobody could be told."""
    api = Api(asking, asking.add_client())
    asked = {"purpose": "email_change", "subject": "u-1", "email": EVE, "deliver": False}
    token = api.post("/v1/tokens", json=asked).json["token"]
    shown = {"purpose": "email_change", "token": token}
    elsewhere = Stranger(asking)
    call = (lambda: api.post("/v1/tokens/consume", json=shown)) if is_internal else (lambda: elsewhere.consume(**shown))
    asking.parts.get(Office).directory._kept._told.clear()
    main_app.status = 500
    with captured_logs():
        assert (call().status_code, mailed(asking)) == (503, [])
    main_app.status = None
    assert (call().status_code, mailed(asking)) == (200, [("Ada@example.com", "email-changed")])
    assert held == [False] * 3
    assert call().json["code"] == "token_used"
    assert len(held) == 3, "nobody is asked about a token that is none any more"


def test_while_the_main_app_is_away_known_and_unknown_look_the_same_and_are_answered_later(asking, main_app):
    """T11, F17"""
    main_app.status = 500
    strangers = [Stranger(asking).ask(email=email) for email in (ADA, EVE)]
    assert [each.status_code for each in strangers] == [202, 202]
    assert strangers[0].data == strangers[1].data
    with captured_logs() as stream:
        # Not from the first one on, whose pause of two seconds may be over before it was looked at.
        asking.execute(update(TokenRequest).values(try_count=2))
        for tries in (3, 4, 5):
            before = clock.now()
            assert [answer_requests(asking) for _ in range(3)] == [1, 1, 0], "a round ends with the first failure"
            assert waiting(asking) == [(ADA, tries), (EVE, tries)]
            for (due_at,) in asking.execute(select(TokenRequest.due_at)):
                assert -0.1 < (due_at - before).total_seconds() - 2**tries < LEASE_SECONDS / 4
            let_time_pass(asking)
    assert not mailed(asking)
    assert ADA not in stream.getvalue()
    main_app.status = None
    assert answer_requests(asking) == 2
    assert (mailed(asking), waiting(asking)) == ([("Ada@example.com", "password-reset")], [])
    assert [subject for name, subject, _ in audited(asking) if name == "token.request_refused"] == [EVE]


def test_what_fails_eight_times_is_given_up(asking, main_app):
    """F17"""
    record(asking)
    main_app.content = b"{}"
    with captured_logs():
        for _ in range(MAX_TRIES):
            assert answer_requests(asking) == 1
            let_time_pass(asking)
    assert (waiting(asking), mailed(asking)) == ([], [])
    assert [name for name, _, _ in audited(asking)] == ["token.request_given_up"]


def test_a_lease_keeps_others_away_and_ends_by_itself(asking, main_app):
    """F8: a worker that died while it asked."""
    record(asking)
    drain = Requests(asking.sessions, asking.parts.glances, asking.parts.get(Office))
    assert drain._take().email == ADA
    assert answer_requests(asking) == 0
    [(due_in,)] = asking.execute(select(TokenRequest.due_at))
    assert LEASE_SECONDS - 30 < (due_in - clock.now()).total_seconds() <= LEASE_SECONDS + 1
    asking.execute(update(TokenRequest).values(due_at=database_now()))
    assert answer_requests(asking) == 1
    assert mailed(asking) == [("Ada@example.com", "password-reset")]


def test_whoever_comes_after_the_lease_ended_mails_nothing(asking, main_app):
    """F8"""
    record(asking)
    main_app.pause = lambda: asking.execute("DELETE FROM token_requests")
    assert answer_requests(asking) == 1
    assert (mailed(asking), audited(asking), asking.execute(select(Token.id))) == ([], [], [])


def test_drains_at_once_answer_each_request_once(on_postgres, main_app):
    """F8"""
    main_app.people = {f"u-{n}": {"subject": f"u-{n}", "email": f"user{n}@example.com"} for n in range(12)}
    with opened(str(on_postgres.app.config["SQLALCHEMY_DATABASE_URI"]), **main_app.variables) as house:
        for person in main_app.people.values():
            record(house, person["email"])
        assert sum(together([lambda: answer_requests(house)] * 3)) == 12
        assert sorted(mailed(house)) == sorted((each["email"], "password-reset") for each in main_app.people.values())
        assert house.execute(select(func.count(Token.id))) == [(12,)]


def test_an_issuer_hears_of_whom_the_main_app_does_not_know_or_has_disabled(asking, main_app, add_client):
    client_id = add_client(asking)
    main_app.people["u-2"] = {**PERSON, "subject": "u-2", "email": EVE, "disabled": True}
    api = Api(asking, asking.add_client("api"))
    for subject, code in (("nobody", AccountUnknownError.code), ("u-2", AccountDisabledError.code)):
        assert api.post("/v1/tokens", json={**RESET, "subject": subject}).json["code"] == code
    main_app.status = 503
    with captured_logs():
        refused = api.post("/v1/tokens", json=RESET)
    assert (refused.status_code, refused.json["code"], refused.headers["Retry-After"]) == (503, "unavailable", "2")
    main_app.status = None
    assert issue(asking, client_id, subject="nobody", email="new@example.com").email == "new@example.com"
