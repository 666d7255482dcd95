"""Who exists: accounts are put, moved, disabled and erased, also by several at once, and their tokens follow."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaitingError

import pytest
from sqlalchemy import select

from email_service.accounts import service as accounts
from email_service.accounts.directory import Nobody, Registry
from email_service.accounts.models import Account
from email_service.accounts.service import Followers, Profile
from email_service.audit.models import AuditEvent
from email_service.audit.service import Actor
from email_service.kernel import clock
from email_service.kernel.errors import AccountDisabledError, EmailTakenError, InvalidInputError, NotFoundError
from email_service.tokens import service as tokens
from email_service.tokens.models import Token, TokenRequest
from email_service.tokens.purposes import Purpose
from email_service.tokens.service import Office, Order
from tests.races import together

SHOP = Actor(name="client:shop", ip="192.0.2.7", request_id="r-1")


def put(house, subject: str = "u-1", email: str = "ada@example.com", **fields) -> bool:
    """Whether the account is new."""
    with house.sessions.begin() as session:
        return accounts.put(session, house.parts.get(Followers), subject, Profile(email=email, **fields), SHOP)[1]


def issue(house, client_id, subject: str = "u-1", purpose: Purpose = Purpose.PASSWORD_RESET, **fields) -> None:
    order = Order(purpose=purpose, subject=subject, client_id=client_id, is_delivered=False, **fields)
    with house.sessions.begin() as session:
        tokens.issue(session, house.parts.get(Office), order, SHOP)


def is_refused(house, *arguments, **fields) -> bool:
    try:
        put(house, *arguments, **fields)
    except EmailTakenError:
        return True
    return False


def live(house) -> int:
    return len(house.execute(select(Token.id).where(tokens.is_live())))


def audited(house, name: str = "account.%") -> list[tuple]:
    columns = (AuditEvent.name, AuditEvent.actor, AuditEvent.subject, AuditEvent.data)
    return [tuple(row) for row in house.execute(select(*columns).where(AuditEvent.name.like(name)).order_by("id"))]


def found(house, email: str) -> str | None:
    with house.sessions() as session:
        person = Registry().find_email(session, email)
        return person and person.subject


def test_an_account_is_put_once_and_then_kept_up_to_date(either):
    assert put(either, name="Ada", locale="de", email_verified=True) is True
    assert put(either, name="Ada L.", is_disabled=False) is False
    [row] = either.execute(select(Account.email, Account.name, Account.locale, Account.email_verified))
    assert tuple(row) == ("ada@example.com", "Ada L.", None, False)
    assert [name for name, *_ in audited(either)] == ["account.added"]


def test_an_account_is_found_by_its_subject_and_by_any_spelling_of_its_address(either):
    put(either, email="Ada@example.com")
    for email in ("ADA@example.com", "ada@EXAMPLE.com"):
        assert found(either, email) == "u-1"
    assert found(either, "ada+news@example.com") is None
    with either.sessions() as session:
        assert Registry().find_subject(session, "u-1").email == "Ada@example.com"
        assert Registry().find_subject(session, "U-1") is None
        assert Nobody().find_subject(session, "u-1") is None
        assert Nobody().find_email(session, "ada@example.com") is None


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.com"])
def test_an_address_belongs_to_one_account(either, email):
    put(either)
    with pytest.raises(EmailTakenError):
        put(either, "u-2", email)
    put(either, "u-2", "eve@example.com")
    with pytest.raises(EmailTakenError):
        put(either, "u-2", email)
    assert found(either, "eve@example.com") == "u-2"


def test_an_address_that_was_given_up_is_free_again(either):
    put(either)
    put(either, email="new@example.com")
    assert put(either, "u-2") is True


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"email": "new@example.com"}, "email_changed"),
        ({"is_disabled": True}, "disabled"),
        ({"email": "new@example.com", "is_disabled": True}, "email_changed"),
    ],
)
def test_tokens_end_with_the_address_they_were_mailed_to_and_with_the_account(either, add_client, changes, reason):
    put(either)
    for purpose in (Purpose.PASSWORD_RESET, Purpose.MAGIC_LINK):
        issue(either, add_client(either, purpose), purpose=purpose)
    put(either, **changes)
    assert live(either) == 0
    assert audited(either)[-1] == ("account.changed", "client:shop", "u-1", {"reason": reason})
    assert [data["count"] for *_, data in audited(either, "token.revoked")] == [2]


def test_tokens_end_when_their_account_is_told_of_as_disabled_for_the_first_time(either, add_client):
    """They were issued with an email, before there was an account."""
    client_id = add_client(either)
    for subject in ("u-1", "u-2"):
        issue(either, client_id, subject, email="ada@example.com")
    put(either, "u-2", "eve@example.com")
    assert live(either) == 2
    put(either, is_disabled=True)
    assert either.execute(select(Token.subject).where(tokens.is_live())) == [("u-2",)]


def test_other_changes_leave_tokens_alone(either, add_client):
    put(either)
    issue(either, add_client(either))
    for changes in ({"name": "Ada"}, {"email": "ADA@example.com"}, {"email_verified": True}, {"locale": "de"}):
        put(either, **changes)
    assert live(either) == 1


def test_nothing_is_issued_for_a_disabled_account_until_it_is_enabled_again(either, add_client):
    client_id = add_client(either)
    put(either, is_disabled=True)
    with pytest.raises(AccountDisabledError):
        issue(either, client_id)
    put(either)
    issue(either, client_id)
    assert audited(either)[-1] == ("account.changed", "client:shop", "u-1", {"reason": "enabled"})
    assert live(either) == 1


def test_erasing_forgets_tokens_and_requests_and_says_how_many(either, add_client):
    client_id = add_client(either)
    put(either, email="Ada@example.com")
    put(either, "u-2", "eve@example.com")
    for subject, purpose in (("u-1", Purpose.PASSWORD_RESET), ("u-1", Purpose.PASSWORD_RESET), ("u-2", "magic_link")):
        issue(either, client_id, subject, Purpose(purpose))
    for email in ("aDa@example.com", "eve@example.com"):
        with either.sessions.begin() as session:
            now = {"requested_at": clock.now(), "due_at": clock.now()}
            session.add(TokenRequest(purpose="magic_link", email=email, request_id="r", try_count=0, **now))
    with either.sessions.begin() as session:
        erased = accounts.erase(session, either.parts.get(Followers), "u-1", SHOP)
    assert erased["tokens"] == 3
    assert either.execute(select(Token.subject)) == [("u-2",)]
    assert either.execute(select(TokenRequest.email)) == [("eve@example.com",)]
    assert either.execute(select(Account.subject)) == [("u-2",)]
    name, actor, subject, data = audited(either)[-1]
    assert (name, actor, subject, data["tokens"]) == ("account.erased", "client:shop", "u-1", 3)
    assert put(either, email="Ada@example.com") is True


def test_who_is_not_there_cannot_be_read_or_erased(either):
    for act in (accounts.get, lambda session, who: accounts.erase(session, either.parts.get(Followers), who, SHOP)):
        with either.sessions.begin() as session, pytest.raises(NotFoundError):
            act(session, "u-1")
    assert audited(either) == []


@pytest.mark.parametrize("subject", ["", "a\0b", "a\nb", "x" * 256])
def test_what_is_no_subject_is_refused_with_its_place(house, subject):
    with pytest.raises(InvalidInputError) as caught:
        put(house, subject)
    assert [fault.pointer for fault in caught.value.faults] == ["/subject"]


def test_of_two_who_take_one_address_at_once_one_gets_it(on_postgres):
    """T6"""
    for number in range(10):
        email = f"ada{number}@example.com"
        refusals = together([lambda who=who, email=email: is_refused(on_postgres, who, email) for who in "ab"])
        assert sorted(refusals) == [False, True]
        assert found(on_postgres, email) in {"a", "b"}


def test_of_two_who_move_to_one_address_at_once_one_gets_it(on_postgres):
    """T6"""
    for who in "ab":
        put(on_postgres, who, f"{who}@example.com")
    for number in range(10):
        email = f"new{number}@example.com"
        refusals = together([lambda who=who, email=email: is_refused(on_postgres, who, email) for who in "ab"])
        assert sorted(refusals) == [False, True]


def test_the_same_account_told_of_twice_at_once_is_one_account_and_no_error(on_postgres):
    for number in range(10):
        subject, email = f"u-{number}", f"ada{number}@example.com"
        news = together([lambda subject=subject, email=email: put(on_postgres, subject, email)] * 4)
        assert sorted(news) == [False, False, False, True]


def test_an_account_that_is_erased_meanwhile_is_put_anew(on_postgres):
    put(on_postgres)
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            accounts.erase(session, on_postgres.parts.get(Followers), "u-1", SHOP)
            second = pool.submit(put, on_postgres)
            with pytest.raises(StillWaitingError):
                second.result(0.5)
        assert second.result(30) is True


@pytest.mark.parametrize("changes", [{"is_disabled": True}, {"email": "new@example.com"}])
def test_a_token_that_is_issued_while_its_account_changes_does_not_outlive_the_change(on_postgres, add_client, changes):
    """Whoever comes second waits, and then sees what the first one did."""
    client_id = add_client(on_postgres)
    put(on_postgres)
    order = Order(purpose=Purpose.PASSWORD_RESET, subject="u-1", client_id=client_id, is_delivered=False)
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            tokens.issue(session, on_postgres.parts.get(Office), order, SHOP)
            second = pool.submit(put, on_postgres, **changes)
            with pytest.raises(StillWaitingError):
                second.result(0.5)
        assert second.result(30) is False
    assert live(on_postgres) == 0


def test_a_token_is_not_issued_to_an_account_that_is_being_disabled(on_postgres, add_client):
    client_id = add_client(on_postgres)
    put(on_postgres)
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            profile = Profile(email="ada@example.com", is_disabled=True)
            accounts.put(session, on_postgres.parts.get(Followers), "u-1", profile, SHOP)
            second = pool.submit(issue, on_postgres, client_id)
            with pytest.raises(StillWaitingError):
                second.result(0.5)
        with pytest.raises(AccountDisabledError):
            second.result(30)
    assert live(on_postgres) == 0


def test_followers_are_told_only_of_what_happened(house):
    """The list of followers is the composition root's; here it is one that only notes."""
    told = []
    followers = Followers(revoke=(lambda *given: told.append(given[1]),), erase={"notes": lambda *_: 7})
    with house.sessions.begin() as session:
        for profile in (Profile(email="a@example.com"), Profile(email="b@example.com"), Profile(email="b@example.com")):
            accounts.put(session, followers, "u-1", profile, SHOP)
        assert told == ["u-1"]
        assert accounts.erase(session, followers, "u-1", SHOP) == {"notes": 7}
    assert told == ["u-1", "u-1"]
