"""What each call does at a real service, by both clients."""

import base64
import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import requests

from email_service_client import NotFound, TokenUsed
from tests.journeys.processes import wait_until

WELCOME = {"template": "welcome", "variables": {"name": "Ada"}}
LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def ada(service) -> str:
    """The subject of somebody new."""
    subject = f"user/{secrets.token_hex(4)} 100%"
    service.accounts.put(subject, email=f"{secrets.token_hex(4)}@example.com", name="Ada")
    return subject


def mails(web, to: str) -> list[dict]:
    return wait_until(lambda: requests.get(f"{web.url}/inbox/messages", {"to": to}, timeout=10).json()["data"])


def test_a_message_is_sent_with_all_that_it_may_have(face, web):
    to = f"{secrets.token_hex(4)}@example.com"
    sent = face.ask(
        lambda service: service.messages.send(
            **WELCOME,
            to={"email": to, "name": "Ada Lovelace"},
            from_={"email": "orders@acme.example", "name": "Acme"},
            expires_at=LATER,
            tags=["signup"],
            attachments=[{"filename": "a.txt", "content_type": "text/plain", "content": b"\x00 octets"}],
        )
    )
    assert (UUID(sent.id).version, sent.to.name, sent.tags, sent.lane) == (
        7,
        "Ada Lovelace",
        ["signup"],
        "transactional",
    )
    assert sent.expires_at == LATER.replace(microsecond=LATER.microsecond // 1000 * 1000)
    [mail] = mails(web, to)
    source = requests.get(f"{web.url}/inbox/messages/{mail['id']}/source", timeout=10).text
    assert "orders@acme.example" in source
    assert base64.b64encode(b"\x00 octets").decode() in source
    found = wait_until(lambda: delivered(face, sent.id))
    assert [attempt.outcome for attempt in found.attempts] == ["accepted"]
    assert face.ask(lambda service: service.messages.explain(UUID(sent.id))).reason == "sent"
    events = face.ask(lambda service: service.messages.events(sent.id, page_size=1))
    assert [event.name for event in events] == ["message.accepted", "message.sent"]


def delivered(face, message_id):
    found = face.ask(lambda service: service.messages.get(message_id))
    return found if found.status == "sent" else None


def test_a_message_that_waits_is_rescheduled_and_cancelled(face):
    sent = face.ask(lambda service: service.messages.send(**WELCOME, to="a@example.com", send_at=LATER))
    assert sent.status == "scheduled"
    moved = face.ask(lambda service: service.messages.reschedule(sent.id, send_at=LATER + timedelta(days=1)))
    assert moved.send_at - sent.send_at == timedelta(days=1)
    assert face.ask(lambda service: service.messages.cancel(sent.id)).status == "cancelled"


def test_a_batch_says_of_each_message_what_became_of_it(face):
    messages = [{**WELCOME, "to": "a@example.com"}, {**WELCOME, "to": "nobody"}]
    accepted, refused = face.ask(lambda service: service.messages.send_batch(messages)).data
    assert (accepted.message.status, accepted.problem) == ("queued", None)
    assert (refused.message, refused.problem.code) == (None, "invalid_input")
    assert [fault.pointer for fault in refused.problem.errors] == ["/messages/1/to"]


def test_a_list_is_read_to_its_end_page_by_page(face, service):
    tag = secrets.token_hex(4)
    ids = [service.messages.send(**WELCOME, to="a@example.com", tags=[tag]).id for _ in range(5)]
    found = face.ask(
        lambda service: service.messages.list(tag=tag, page_size=2, created_after=LATER - timedelta(days=3))
    )
    assert [message.id for message in found] == ids[::-1]
    assert face.ask(lambda service: service.messages.list(tag=tag, created_after=LATER)) == []


def test_a_page_is_fetched_when_it_is_needed(service):
    tag = secrets.token_hex(4)
    for _ in range(3):
        service.messages.send(**WELCOME, to="a@example.com", tags=[tag])
    messages = service.messages.list(tag=tag, page_size=2)
    newest = next(messages)
    assert newest.tags == [tag]
    assert len(list(messages)) == 2


def test_templates_are_listed_and_rendered(face):
    names = [template.name for template in face.ask(lambda service: service.templates.list())]
    assert "welcome" in names
    assert face.ask(lambda service: service.templates.get("welcome")).variables_schema["required"] == ["name"]
    rendered = face.ask(lambda service: service.templates.render("welcome", variables={"name": "Ada"}, locale="en"))
    assert "Ada" in rendered.subject


def test_a_suppression_comes_and_goes(face):
    email = f"a/{secrets.token_hex(4)}@example.com"
    made = face.ask(lambda service: service.suppressions.put(email, reason="complaint"))
    assert face.ask(lambda service: service.suppressions.get(email)) == made
    assert made in face.ask(lambda service: service.suppressions.list(reason="complaint", page_size=1))
    assert face.ask(lambda service: service.suppressions.delete(email)) is None
    with pytest.raises(NotFound):
        face.ask(lambda service: service.suppressions.get(email))


def test_a_suppression_may_be_of_one_category(face):
    email = f"{secrets.token_hex(4)}@example.com"
    made = face.ask(lambda service: service.suppressions.put(email, category="optional"))
    assert face.ask(lambda service: service.suppressions.get(email, category="optional")) == made
    assert face.ask(lambda service: service.suppressions.list(email=email)) == [made]
    with pytest.raises(NotFound):
        face.ask(lambda service: service.suppressions.delete(email))
    assert face.ask(lambda service: service.suppressions.delete(email, category="optional")) is None


def test_an_account_comes_and_goes(face, ada):
    account = face.ask(lambda service: service.accounts.get(ada))
    assert (account.subject, account.name, account.disabled) == (ada, "Ada", False)
    names = {event.name for event in face.ask(lambda service: service.audit.list(subject=ada))}
    assert names == {"account.added"}
    erased = face.ask(lambda service: service.accounts.delete(ada))
    assert (erased.subject, set(erased.erased.values())) == (ada, {0})


def test_a_token_is_issued_looked_at_and_redeemed_once(face, ada):
    issued = face.ask(
        lambda service: service.tokens.issue(purpose="password_reset", subject=ada, deliver=False, context={"to": "/"})
    )
    seen = face.ask(lambda service: service.tokens.verify("password_reset", issued.token))
    assert (seen.subject, seen.context, seen.valid) == (ada, {"to": "/"}, True)
    assert face.ask(lambda service: service.tokens.consume("password_reset", issued.token)).subject == ada
    with pytest.raises(TokenUsed):
        face.ask(lambda service: service.tokens.consume("password_reset", issued.token))


def test_a_code_is_redeemed_with_its_address(face, ada, service):
    email = service.accounts.get(ada).email
    code = service.tokens.issue(purpose="login_code", subject=ada, deliver=False).code
    assert face.ask(lambda service: service.tokens.consume("login_code", email=email, code=code)).email == email


def test_tokens_are_revoked(face, ada, service):
    service.tokens.issue(purpose="magic_link", subject=ada, deliver=False)
    assert face.ask(lambda service: service.tokens.revoke(ada, "password_reset")).revoked == 0
    assert face.ask(lambda service: service.tokens.revoke(ada)).revoked == 1


def test_a_session_begins_goes_on_and_ends(face, ada):
    started = face.ask(lambda service: service.sessions.create(subject=ada, claims={"era": 1}, ip="192.0.2.7"))
    [session] = face.ask(lambda service: service.sessions.list(ada))
    assert (session.id, session.ip) == (started.session_id, "192.0.2.7")
    pair = face.ask(lambda service: service.public.refresh(started.refresh_token, reader_ip="192.0.2.7"))
    assert pair.refresh_token != started.refresh_token
    assert face.ask(lambda service: service.public.revoke(pair.refresh_token, reader_ip=None)) is None
    assert face.ask(lambda service: service.sessions.sign_out(ada)).revoked == 0


def test_a_reader_resets_a_password_by_the_public_calls(face, web, ada, service):
    email, reader = service.accounts.get(ada).email, "2001:db8::7"
    asked = face.ask(lambda service: service.public.ask("password_reset", email, reader_ip=reader), api_key=None)
    assert (asked.rate_limited, asked.token_expires_in_hours) == (False, 1)
    token = mails(web, email)[0]["links"][-1].partition("token=")[2]
    assert face.ask(lambda service: service.public.verify("password_reset", token, reader_ip=reader)).valid
    redeemed = face.ask(lambda service: service.public.consume("password_reset", token, reader_ip=reader))
    claims = face.ask(lambda service: service.verify_assertion(redeemed.assertion, "password_reset"))
    assert (claims.subject, claims.email, claims.purpose) == (ada, email, "password_reset")
    assert service.audit.list(subject=ada, name="token.consumed").__next__().ip == reader


def test_the_public_calls_may_be_at_another_address(face, web):
    """EXPOSE: where the service is split, the key goes to the internal half only."""
    dead = "http://127.0.0.1:9"
    asked = face.ask(
        lambda service: service.public.ask("magic_link", "a@example.com", reader_ip="198.51.100.9"),
        url=dead,
        public_url=web.url,
    )
    assert not asked.rate_limited
