"""How long tokens, codes and sessions live, to the second, while the clock of the database stands still.

The service asks PostgreSQL for the time by `statement_timestamp`; a schema of the test's own has that name too.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import make_url, select

from email_service.kernel.errors import TokenExpiredError, TokenInvalidError
from email_service.sessions.models import UserSession
from email_service.signing.service import Signer
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES, Purpose
from tests import sign_ins
from tests.applications import House, opened
from tests.token_mail import by_code, by_link, consume, issue, look, secrets_of

# As DESIGN 4.3 fixes them. A code that goes to the address of record may live for a day (SP 800-63B 3.1.3.2).
LONGEST = {
    Purpose.PASSWORD_RESET: timedelta(hours=1),
    Purpose.EMAIL_VERIFICATION: timedelta(hours=24),
    Purpose.INVITATION: timedelta(days=7),
    Purpose.MAGIC_LINK: timedelta(minutes=15),
    Purpose.LOGIN_CODE: timedelta(minutes=10),
    Purpose.EMAIL_CHANGE: timedelta(hours=1),
}
BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FROZEN = """
    DROP SCHEMA IF EXISTS frozen CASCADE; CREATE SCHEMA frozen; CREATE TABLE frozen.clock (at timestamptz);
    INSERT INTO frozen.clock VALUES ('2026-11-21 12:00:00+00');
    CREATE FUNCTION frozen.statement_timestamp() RETURNS timestamptz STABLE LANGUAGE sql
    AS 'SELECT at FROM frozen.clock'
"""


@pytest.fixture
def house(on_postgres) -> Iterator[House]:
    """A house whose database says what time it is told."""
    for statement in FROZEN.split(";"):
        on_postgres.execute(statement)
    url = make_url(str(on_postgres.app.config["SQLALCHEMY_DATABASE_URI"]))
    frozen = url.update_query_dict({"options": "-csearch_path=frozen,pg_catalog,public"})
    with opened(frozen.render_as_string(hide_password=False)) as house:
        yield house
    on_postgres.execute("DROP SCHEMA frozen CASCADE")


@pytest.fixture
def tell(house) -> Callable[[datetime], None]:
    """Set the clock of the database."""
    return lambda at: house.execute("UPDATE frozen.clock SET at = :at", at=at)


@pytest.fixture
def client_id(house, add_client):
    return add_client(house)


def test_the_clock_stands_where_it_is_told(house, tell):
    tell(BEGIN + SECOND)
    assert house.execute("SELECT statement_timestamp()") == [(BEGIN + SECOND,)]


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_lives_to_its_last_second_and_not_in_the_next(house, tell, client_id, purpose):
    """T5: at exp - 1 s, exp and exp + 1 s."""
    for after, is_live in ((-SECOND, True), (0 * SECOND, False), (SECOND, False)):
        tell(BEGIN)
        issued = issue(house, client_id, purpose, is_delivered=False)
        assert issued.expires_at - BEGIN == LONGEST[purpose]
        token, code = secrets_of(house, issued)
        tell(issued.expires_at + after)
        shown = [by_link(purpose, token)] if token else []
        for presented in shown + ([by_code(purpose, code)] if code else []):
            if is_live:
                house.execute("UPDATE tokens SET consumed_at = NULL WHERE id = :id", id=str(issued.id))
                assert consume(house, presented).id == issued.id
            else:
                with pytest.raises(TokenExpiredError if presented.token else TokenInvalidError):
                    consume(house, presented)
        assert token is None or is_live or _is_expired(house, purpose, token)
    assert house.execute(select(Token.id).where(Token.expires_at - Token.issued_at != LONGEST[purpose])) == []


@pytest.mark.parametrize("purpose", [purpose for purpose, rule in RULES.items() if rule.has_code])
def test_an_expired_code_costs_no_try_and_tells_nothing(house, tell, client_id, purpose):
    """T5"""
    issued = issue(house, client_id, purpose, is_delivered=False)
    code = secrets_of(house, issued)[1]
    tell(issued.expires_at)
    said = set()
    for guess in (code, f"{(int(code) + 1) % 10**6:06}"):
        with pytest.raises(TokenInvalidError) as caught:
            consume(house, by_code(purpose, guess))
        said.add(str(caught.value))
    assert len(said) == 1
    assert house.execute(select(Token.code_try_count)) == [(0,)]


@pytest.mark.parametrize("end", [timedelta(days=7), timedelta(days=30)])
def test_a_session_lives_to_its_last_second_and_not_in_the_next(house, tell, client_id, end):
    """T5, T26: idle for seven days, and thirty days at the most."""
    house.parts.get(Signer).prepare()
    sign_ins.put(house, sign_ins.ADA)
    for after, is_live in ((-SECOND, True), (0 * SECOND, False), (SECOND, False)):
        tell(BEGIN)
        token = sign_ins.start(house).refresh_token
        if end > timedelta(days=7):
            # As if it had been used all the while.
            house.execute(UserSession.__table__.update().values(idle_expires_at=BEGIN + end + 9 * SECOND))
        tell(BEGIN + end + after)
        if is_live:
            assert sign_ins.refresh(house, token).refresh_token != token
        else:
            with pytest.raises(TokenExpiredError):
                sign_ins.refresh(house, token)


def _is_expired(house: House, purpose: Purpose, token: str) -> bool:
    with pytest.raises(TokenExpiredError):
        look(house, purpose, token)
    return True
