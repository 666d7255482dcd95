"""Tokens are issued and mailed, the new one replaces the old, and nothing that is kept redeems any."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from email_service.delivery.transport import Outcome, Phase, Report
from email_service.kernel.errors import (
    AccountUnknownError,
    InvalidInputError,
    NotFoundError,
    SealBrokenError,
    TokenInvalidError,
    TokenUsedError,
)
from email_service.kernel.orm import Base, database_now
from email_service.messages import life
from email_service.messages.models import Message
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from email_service.tokens import service as tokens
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.service import Office
from tests.applications import CATALOG
from tests.remains import candidates, find_leaks
from tests.scripted_transport import ACCEPTED, Scripted
from tests.token_mail import ADA, SHOP, by_code, by_link, consume, issue, look, read, secrets_of

LATER = Report(outcome=Outcome.RETRY_LATER, phase=Phase.RCPT, code=451, enhanced_code="4.7.1", reply="later")
LIFETIMES = {
    Purpose.PASSWORD_RESET: timedelta(hours=1),
    Purpose.EMAIL_VERIFICATION: timedelta(hours=24),
    Purpose.INVITATION: timedelta(days=7),
    Purpose.MAGIC_LINK: timedelta(minutes=15),
    Purpose.LOGIN_CODE: timedelta(minutes=10),
    Purpose.EMAIL_CHANGE: timedelta(hours=1),
}
LINKED = [purpose for purpose, rule in RULES.items() if rule.has_link]


@pytest.fixture
def client_of(either, add_client):
    return add_client(either)


def delivered(house, *reports: Report) -> list:
    """The mails that go out now, as their readers see them."""
    transport = Scripted(list(reports) or [ACCEPTED])
    house.deliver(transport)
    return [read(parcel.content) for parcel in transport.parcels]


def remains_of(house) -> bytes:
    """Every column of every row; octets also as hexadecimal."""
    found = b""
    with house.sessions() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(text(f"SELECT * FROM {table.name}")):
                for value in row:
                    is_octets = isinstance(value, bytes)
                    found += (value + b"\n" + value.hex().encode() if is_octets else str(value).encode()) + b"\n"
    return found


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_mails_what_redeems_it(either, client_of, purpose):
    rule = RULES[purpose]
    token = issue(either, client_of, purpose)
    assert token.expires_at - token.issued_at == LIFETIMES[purpose]
    [mail] = delivered(either)
    message = either.message(token.message_id)
    assert (message.template, message.lane, message.status) == (rule.template, "token", "sent")
    assert (mail.token, mail.code) == secrets_of(either, token)
    assert (mail.token is not None, mail.code is not None) == (rule.has_link, rule.has_code)
    assert message.expires_at == token.expires_at
    if rule.has_link:
        assert mail.link == f"http://127.0.0.1:8000/pages/{purpose.replace('_', '-')}?token={mail.token}"
        assert mail.token in mail.html
        assert look(either, purpose, mail.token).subject == "u-1"
        row = consume(either, by_link(purpose, mail.token))
    else:
        assert mail.code in mail.html
        row = consume(either, by_code(purpose, mail.code))
    assert (row.subject, row.email, row.purpose) == ("u-1", ADA, purpose)


def test_links_lead_where_the_settings_say(house, reopen, client_id):
    """T17: from configuration only."""
    settings = {"FRONTEND_URL": "https://app.example.com", "LINK_PATH_MAGIC_LINK": "/in", "TOKEN_TTL_MAGIC_LINK": "2h"}
    other = reopen(**settings)
    token = issue(other, client_id, Purpose.MAGIC_LINK)
    [mail] = delivered(other)
    assert mail.link == f"https://app.example.com/in?token={mail.token}"
    assert token.expires_at - token.issued_at == timedelta(hours=2)
    assert "2 hours" in mail.text


def test_the_caller_chooses_lifetime_context_and_variables(either, client_of):
    fields = {"ttl_seconds": 120, "context": {"plan": {"id": 7}}, "variables": {"name": "Countess"}}
    token = issue(either, client_of, **fields)
    assert token.expires_at - token.issued_at == timedelta(minutes=2)
    [mail] = delivered(either)
    assert "Hello Countess" in mail.text
    assert "2 minutes" in mail.text
    assert consume(either, by_link(Purpose.PASSWORD_RESET, mail.token)).context == {"plan": {"id": 7}}


@pytest.mark.parametrize("name", ["action_url", "code", "expires_in_minutes"])
def test_what_only_the_service_knows_cannot_be_given(house, client_id, name):
    with pytest.raises(InvalidInputError) as caught:
        issue(house, client_id, variables={name: "x"})
    assert [fault.pointer for fault in caught.value.faults] == [f"/variables/{name}"]
    assert house.execute("SELECT count(*) FROM tokens") == [(0,)]


def test_a_purpose_whose_template_needs_more_says_so(house, client_id):
    with pytest.raises(InvalidInputError) as caught:
        issue(house, client_id, Purpose.INVITATION, variables={})
    assert [fault.pointer for fault in caught.value.faults] == ["/variables/inviter_name"]
    assert house.execute("SELECT count(*) FROM tokens") == [(0,)]


def test_an_unknown_subject_needs_an_address(house, client_id):
    with pytest.raises(AccountUnknownError):
        issue(house, client_id, email=None)


def test_a_new_token_takes_the_place_of_the_live_one_and_of_its_waiting_mail(either, client_of):
    old = issue(either, client_of)
    new = issue(either, client_of)
    other = issue(either, client_of, subject="u-2")
    message = either.message(old.message_id)
    assert message.status == "expired"
    assert either.events(message.id)[-1].data["reason"] == "superseded"
    with pytest.raises(TokenUsedError):
        look(either, Purpose.PASSWORD_RESET, secrets_of(either, old)[0])
    mails = delivered(either)
    assert {mail.token for mail in mails} == {secrets_of(either, token)[0] for token in (new, other)}
    for mail in mails:
        assert look(either, Purpose.PASSWORD_RESET, mail.token)


def test_a_token_for_another_purpose_replaces_nothing(either, client_of):
    issued = {purpose: issue(either, client_of, purpose) for purpose in LINKED}
    for purpose, token in issued.items():
        assert look(either, purpose, secrets_of(either, token)[0]).id == token.id


def test_revoking_ends_what_is_live_and_says_how_much(either, client_of):
    made = {purpose: issue(either, client_of, purpose) for purpose in LINKED}
    kept = issue(either, client_of, subject="u-2")
    consume(either, by_link(Purpose.INVITATION, secrets_of(either, made[Purpose.INVITATION])[0]))
    with either.sessions.begin() as session:
        assert tokens.revoke(session, "u-1", Purpose.MAGIC_LINK, SHOP) == 1
        assert tokens.revoke(session, "u-1", Purpose.MAGIC_LINK, SHOP) == 0
        assert tokens.revoke_all(session, "u-1", SHOP) == len(LINKED) - 2
    assert either.message(made[Purpose.MAGIC_LINK].message_id).status == "expired"
    assert look(either, Purpose.PASSWORD_RESET, secrets_of(either, kept)[0])


def test_each_try_of_a_message_carries_the_same_token(either, client_of):
    """F1"""
    issue(either, client_of, Purpose.MAGIC_LINK)
    transport = Scripted([LATER, ACCEPTED])
    for _ in range(2):
        either.deliver(transport)
        either.execute(update(Message).where(Message.due_at.is_not(None)).values(due_at=database_now()))
    first, second = (parcel.content for parcel in transport.parcels)
    assert first == second
    assert look(either, Purpose.MAGIC_LINK, read(first).token)


def test_a_key_that_is_rotated_before_the_mail_goes_out_spoils_nothing(house, reopen, client_id):
    """F16"""
    issue(house, client_id, Purpose.MAGIC_LINK)
    old = house.app.config["SECRET_KEY"]
    rotated = reopen(SECRET_KEY="n" * 40, SECRET_KEY_FALLBACKS=old)
    [mail] = delivered(rotated)
    for each in (house, rotated):
        assert look(each, Purpose.MAGIC_LINK, mail.token).subject == "u-1"
    assert consume(rotated, by_code(Purpose.MAGIC_LINK, mail.code)).subject == "u-1"


def test_without_the_old_key_no_mail_goes_out_and_no_code_is_right(house, reopen, client_id):
    """F16, T34"""
    issued = issue(house, client_id, Purpose.MAGIC_LINK)
    code = secrets_of(house, issued)[1]
    lost = reopen(SECRET_KEY="n" * 40)
    assert delivered(lost) == []
    assert lost.message(issued.message_id).status == "deferred"
    with pytest.raises(TokenInvalidError):
        consume(lost, by_code(Purpose.MAGIC_LINK, code))
    with pytest.raises(SealBrokenError):
        secrets_of(lost, issued)


def test_a_dump_of_every_table_redeems_nothing(either, client_of):
    """T2"""
    issued = [(purpose, issue(either, client_of, purpose)) for purpose in Purpose]
    made = [secrets_of(either, token) for _, token in issued]
    dumps = [remains_of(either)]
    assert len(delivered(either)) == len(issued)
    dumps.append(remains_of(either))
    for found in dumps:
        assert b"u-1" in found
        assert find_leaks([secret for both in made for secret in both if secret], found) == []
        for attempt in candidates(found):
            for purpose in LINKED:
                with pytest.raises(TokenInvalidError):
                    look(either, purpose, attempt)


def test_a_suppressed_address_is_not_mailed_and_the_message_says_so(house, client_id):
    with house.sessions.begin() as session:
        suppressions.suppress(session, ADA, Reason.COMPLAINT)
    token = issue(house, client_id)
    assert house.message(token.message_id).status == "suppressed"
    assert look(house, Purpose.PASSWORD_RESET, secrets_of(house, token)[0])


def test_mail_of_a_token_that_died_is_not_sent(either, client_of):
    token = issue(either, client_of)
    either.execute(update(Message).values(expires_at=database_now()))
    assert delivered(either) == []
    assert either.message(token.message_id).status == "expired"


def test_mail_of_a_replaced_token_cannot_start_over(either, client_of):
    old = issue(either, client_of)
    issue(either, client_of)
    with either.sessions.begin() as session, pytest.raises(Exception, match="newer message"):
        life.retry(session, client_of, old.message_id, life.Terms(catalog=CATALOG))


def test_a_long_name_of_an_account_is_cut_and_not_refused(house, client_id):
    """The registry takes names of 200 characters, the templates 100."""
    house.execute(
        "INSERT INTO accounts (subject, email, email_key, name, email_verified, is_disabled, created_at, updated_at)"
        " VALUES ('u-1', :email, :email, :name, false, false, '2026-01-01', '2026-01-01')",
        email=ADA,
        name="Ada " * 50,
    )
    issue(house, client_id, email=None)
    [mail] = delivered(house)
    assert "Hello " + ("Ada " * 25).strip() in " ".join(mail.text.split())


def test_a_token_that_was_forgotten_is_not_handed_over(house, client_id):
    token = issue(house, client_id, is_delivered=False)
    house.execute("DELETE FROM tokens")
    with pytest.raises(NotFoundError):
        secrets_of(house, token)


def test_an_order_says_who_made_it(house, client_id):
    token = issue(house, client_id, is_delivered=False)
    assert (token.client_id, token.message_id, token.email) == (client_id, None, ADA)
    assert house.parts.get(Office).terms.keys() == set(Purpose)
