"""Whatever a decision rests on is taken away - hashing, keys, rows, quotas - and nobody gets further for it.

Afterwards it is there again, and what was good before is good still.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select

from email_service.clients import service as clients
from email_service.kernel import crypto
from email_service.kernel.errors import UnauthenticatedError
from email_service.sessions.models import UserSession
from email_service.signing.service import Signer
from email_service.tokens.models import Token
from tests.applications import Api, House
from tests.log_capture import captured_logs
from tests.strangers import ADA, Stranger, issue, put_account

SECRET_LENGTH = 43


@pytest.fixture
def api(on_postgres) -> Api:
    put_account(on_postgres.house)
    return on_postgres


@contextmanager
def without(house: House, table: str) -> Iterator[None]:
    """While this table cannot be read."""
    house.execute(f"ALTER TABLE {table} RENAME TO gone")
    try:
        with captured_logs():
            yield
    finally:
        house.execute(f"ALTER TABLE gone RENAME TO {table}")


def consumed(house: House) -> list:
    return house.execute(select(Token.id).where(Token.consumed_at.is_not(None)))


@pytest.mark.parametrize("error", [MemoryError(), ValueError("memory limit exceeded")])
def test_a_code_that_cannot_be_hashed_is_not_right(api, monkeypatch, error):
    """T34: the guess is counted all the same, so that nobody guesses for nothing while memory is short."""
    code, stranger = issue(api.house, "login_code")["code"], Stranger(api.house)
    shown = {"purpose": "login_code", "email": ADA, "code": code}
    api.house.parts.get(Signer).prepare()

    def fail(*_given, **_more):
        raise error

    with monkeypatch.context() as patch, captured_logs():
        patch.setattr(hashlib, "scrypt", fail)
        answers = [stranger.consume(**shown), api.post("/v1/tokens/consume", json=shown)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert not [answer for answer in answers if code in answer.text or "memory" in answer.text]
    assert (consumed(api.house), api.house.execute(select(Token.code_try_count))) == ([], [(2,)])
    assert stranger.consume(**shown).status_code == 200


def test_without_keys_to_sign_with_no_token_is_spent_and_no_session_begins(api):
    """T34: what cannot be answered is not redeemed, so that a link outlives the outage."""
    token, stranger = issue(api.house)["token"], Stranger(api.house)
    signer = api.house.parts.get(Signer)
    signer._read_at_seconds = float("-inf")
    with without(api.house, "signing_keys"):
        answers = [stranger.consume(token=token), api.post("/v1/sessions", json={"subject": "u-1"})]
    assert {answer.status_code for answer in answers} <= {500, 503}
    assert (consumed(api.house), api.house.execute(select(UserSession.id))) == ([], [])
    assert stranger.consume(token=token).status_code == 200


@pytest.mark.parametrize("table", ["api_keys", "clients"])
def test_without_the_keys_of_clients_nobody_is_let_in(api, table):
    """T34, T24: neither a key that was never seen nor one that was good a moment ago."""
    assert api.send().status_code == 202
    with without(api.house, table):
        answers = [api.send(), api.get("/v1/messages"), Api(api.house, "esk_0_x").get("/v1/templates")]
    assert not {answer.status_code for answer in answers} & {200, 202}
    assert api.house.execute("SELECT count(*) FROM messages") == [(1,)]
    assert api.send().status_code == 202


@pytest.mark.parametrize("table", ["accounts", "suppressions"])
def test_without_a_look_up_a_stranger_is_promised_the_same_and_no_session_is_refreshed(api, table):
    """T34, T11: the look-up happens later, in a worker."""
    refresh = api.post("/v1/sessions", json={"subject": "u-1"}).json["refresh_token"]
    before = Stranger(api.house).ask()
    with without(api.house, table):
        during = Stranger(api.house, "192.0.2.2").ask("nobody@example.com")
        renewed = api.post("/public/v1/sessions/refresh", json={"refresh_token": refresh})
    assert (during.status_code, during.data) == (before.status_code, before.data)
    assert renewed.status_code == (500 if table == "accounts" else 200)
    assert api.post("/public/v1/sessions/refresh", json={"refresh_token": refresh}).status_code == 200


def test_an_audit_that_cannot_be_written_leaves_nothing_undone_by_half(api):
    """T34, F3: what nobody could account for does not happen, and there is no token without its message."""
    token = issue(api.house)["token"]
    api.house.parts.get(Signer).prepare()
    body = {"purpose": "magic_link", "subject": "u-1"}
    with without(api.house, "audit_events"):
        answers = [Stranger(api.house).consume(token=token), api.post("/v1/tokens", json=body)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert (consumed(api.house), api.house.execute("SELECT count(*) FROM messages")) == ([], [(0,)])
    assert api.house.execute(select(Token.purpose)) == [("password_reset",)]
    assert Stranger(api.house).consume(token=token).status_code == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: "esk_000000000000_" + key.split("_", 2)[2],
        lambda key: key[:-SECRET_LENGTH] + "A" * SECRET_LENGTH,
        lambda key: key[:-27] + "A" * 27,
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: "nothing like a key",
        lambda key: "",
    ],
    ids=["unknown id", "no byte agrees", "16 characters agree", "all but one agree", "no key", "nothing"],
)
def test_every_wrong_key_costs_the_same_work(api, damage, monkeypatch):
    """T24: one look, one hash and one comparison in constant time, whether or not there is such an id."""
    hashed, compared, asked = [], [], []
    digest, compare = crypto.hash_secret, hmac.compare_digest
    monkeypatch.setattr(crypto, "hash_secret", lambda secret: hashed.append(secret) or digest(secret))
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(len(other)) or compare(one, other))
    with api.house.sessions() as session:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2]))
        with pytest.raises(UnauthenticatedError):
            clients.authenticate(session, damage(api.key))
    assert (len(hashed), compared, len(asked)) == (1, [32], 1)
