"""Whatever is refused or goes over a quota leaves an event too: who, from where, in which request; and no secret."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from email_service.audit.models import AuditEvent
from email_service.audit.quota_hits import NEWS_AFTER_SECONDS
from email_service.cli import house as command_house
from email_service.cli.client import client
from email_service.kernel import clock
from email_service.tokens.models import Token
from tests.applications import House
from tests.log_capture import captured_logs, parsed
from tests.strangers import ADA, Stranger, audited, issue, put_account

ROOT = Path(__file__).parents[2]
AUDIT_SECTION = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("## Audit")[1]
SOURCE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "email_service").rglob("*.py"))
UNKNOWN = "A" * 43


@pytest.fixture
def house(either) -> House:
    return either


def events(house, name: str) -> list[AuditEvent]:
    with house.sessions() as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.name == name).order_by(AuditEvent.id)))


@pytest.mark.parametrize("surface", ["public", "internal", "internal with a key", "page"])
def test_what_cannot_be_redeemed_is_noted_with_its_reason(house, api, surface):
    """T27: and neither the token nor the code is."""
    made = issue(house, "email_verification")
    stranger = Stranger(house, "192.0.2.7")
    headers = {"Idempotency-Key": "once"} if surface.endswith("key") else {}

    def show(number: int, **proof: str) -> int:
        if surface == "page":
            path = "/pages/email-verification" + ("/code" if "code" in proof else "")
            return stranger.request("POST", path, data=proof).status_code
        body = {"purpose": "email_verification", **proof}
        if surface == "public":
            return stranger.consume(**body).status_code
        keyed = {name: f"{value}-{number}" for name, value in headers.items()}
        return api.post("/v1/tokens/consume", json=body, headers=keyed).status_code

    assert show(1, token=made["token"]) == 200
    assert [show(2, token=made["token"]), show(3, token=UNKNOWN), show(4, email=ADA, code="000000")] == [400] * 3
    refused = events(house, "token.refused")
    assert [(event.subject, event.data["reason"]) for event in refused] == [
        ("u-1", "token_used"),
        ("unknown", "token_invalid"),
        (ADA, "token_invalid"),
    ]
    assert {event.actor for event in refused} == {"client:shop" if surface.startswith("internal") else "public"}
    assert all(event.ip and event.request_id for event in refused)
    assert [event.subject for event in events(house, "token.guessed")] == [ADA]
    everything = json.dumps([event.data for event in refused])
    assert made["token"] not in everything
    assert "000000" not in everything


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_a_key_that_was_revoked_a_moment_ago_redeems_nothing(house, api, headers):
    """T24: the process still recalls whose key it was; nothing is redeemed, counted or written for it."""
    link, code = issue(house, "magic_link")["token"], issue(house, "login_code")["code"]
    assert api.post("/v1/tokens/verify", json={"purpose": "magic_link", "token": link}).status_code == 200
    house.execute("UPDATE clients SET revoked_at = created_at WHERE name = 'shop'")
    assert api.request("OPTIONS", "/v1/tokens/consume").status_code == 401
    proofs = [{"purpose": "magic_link", "token": link}, {"purpose": "login_code", "email": ADA, "code": code}]
    for call in ("/v1/tokens/verify", "/v1/tokens/consume"):
        for proof in (*proofs, {"purpose": "magic_link", "token": UNKNOWN}):
            assert api.post(call, json=proof, headers=headers).status_code in {401, 422}
    assert house.execute(select(Token.consumed_at, Token.code_try_count)) == [(None, 0)] * 2
    assert [name for name, _, _ in audited(house)] == ["token.issued"] * 2
    assert [Stranger(house).consume(**proof).status_code for proof in proofs] == [200, 200]


def test_a_quota_that_is_used_up_is_noted_once_a_minute(house):
    """T13, T27: with the network, and an address only as what it was made into."""
    put_account(house)
    for number in range(9):
        Stranger(house, f"192.0.2.{number // 5}").ask(f"user{number % 5}@example.com")
    answers = [Stranger(house, "192.0.2.0").ask("more@example.com").status_code for _ in range(5)]
    assert answers == [429] * 5
    [network] = events(house, "quota.exceeded")
    assert (network.subject, network.actor, network.ip) == ("192.0.2.0", "public", "192.0.2.0")
    assert network.data == {"scope": "public-issue-ip", "allowed": "5/hour"}
    assert network.request_id
    for number in range(4):
        Stranger(house, f"198.51.100.{number}").ask(ADA)
    address = events(house, "quota.exceeded")[1]
    assert address.data["scope"] == "public-issue-email"
    assert "@" not in address.subject


def test_the_next_minute_is_noted_again(house, monkeypatch):
    for _ in range(6):
        Stranger(house).verify(UNKNOWN)
    assert len(events(house, "quota.exceeded")) == 1
    later = clock.monotonic_seconds() + NEWS_AFTER_SECONDS + 1
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: later)
    assert [Stranger(house).verify(UNKNOWN).status_code for _ in range(3)] == [429] * 3
    assert len(events(house, "quota.exceeded")) == 2


def test_a_refusal_that_cannot_be_noted_is_a_refusal(house):
    """T34: with the database away the quota still holds."""
    for _ in range(5):
        Stranger(house).verify(UNKNOWN)
    house.execute("ALTER TABLE audit_events RENAME TO audit_gone")
    try:
        with captured_logs() as stream:
            assert Stranger(house).verify(UNKNOWN).status_code == 429
    finally:
        house.execute("ALTER TABLE audit_gone RENAME TO audit_events")
    assert [line["level"] for line in parsed(stream) if line["event"] == "quota_hit.not_noted"] == ["warning"]


def test_a_client_that_asks_too_often_is_noted_by_its_id(house, api, reopen):
    limited = reopen(API_RATE_LIMIT="2/minute")
    key = limited.add_client("busy")
    headers = {"Authorization": f"Bearer {key}"}
    statuses = [limited.app.test_client().get("/v1/templates", headers=headers).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    [noted] = events(house, "quota.exceeded")
    assert (noted.actor, noted.subject, noted.data["scope"]) == ("client:busy", str(noted.client_id), "api")


def test_what_operators_do_with_clients_is_noted(house, monkeypatch):
    monkeypatch.setattr(command_house, "build", lambda: house.app)
    for words in (["create", "till", "--scope", "messages:send"], ["rotate", "till"], ["revoke", "till"]):
        assert CliRunner().invoke(client, words).exit_code == 0
    noted = [(name, subject) for name, subject, _ in audited(house, "client.")]
    assert noted == [("client.created", "till"), ("client.key_rotated", "till"), ("client.revoked", "till")]
    assert {event.actor for event in events(house, "client.created")} == {"operator"}


def test_every_event_is_documented():
    """A name that the code writes down stands in the table of the audit, and no other does."""
    told = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", AUDIT_SECTION.split("| event | tells |")[1].split("\n\n")[0]))
    rooms = ("token", "session", "account", "client", "quota", "signing_key", "suppression")
    written = set(re.findall(rf'"((?:{"|".join(rooms)})\.[a-z_]+|message\.requeued)"', SOURCE))
    assert told == written
