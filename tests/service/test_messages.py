"""Accepting messages, and what of them can be read in the database."""

import base64
from datetime import timedelta

import pytest
from sqlalchemy import text

from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError, NotFoundError, SealBrokenError
from email_service.kernel.orm import Base, take_lanes_to_wake
from email_service.messages import content
from email_service.messages import service as messages
from email_service.messages.submission import Submission
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason

ADA = {"email": "ada@example.com", "name": "Ada"}
MARKER = "Wq7-marker-of-a-variable"
LINK = f"https://app.example.com/reset?token={MARKER}"
FILE = {
    "filename": "a.txt",
    "content_type": "text/plain",
    "content": base64.b64encode(MARKER.encode()).decode(),
    "content_id": None,
}


def reset(**fields) -> dict:
    """A submission of the template whose content is sensitive."""
    return {"template": "password-reset", "to": ADA, "variables": {"action_url": LINK}, **fields}


def dump(house) -> bytes:
    """Every column of every row, as text and as bytes."""
    found = b""
    with house.sessions() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(text(f"SELECT * FROM {table.name}")):
                found += b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    return found


def suppress(house, email: str = "ada@example.com") -> None:
    with house.sessions.begin() as session:
        suppressions.suppress(session, email, Reason.COMPLAINT)


def opened(house, message) -> dict:
    return content.open_variables(house.intake.sealer, message.id, message.content.variables)


def names_of(house, message_id) -> list[str]:
    return [event.name for event in house.events(message_id)]


def test_an_accepted_message_is_due_at_once_and_says_so(either, add_client):
    message_id = either.accept(add_client(either))
    message = either.message(message_id)
    assert (message.status, message.lane, message.attempt_count) == ("queued", "transactional", 0)
    assert abs(message.due_at - message.created_at) < timedelta(seconds=5)
    assert message.message_id_header == f"<{message_id}@localhost.localdomain>"
    assert names_of(either, message_id) == ["message.accepted"]


def test_accepting_notes_which_lane_to_wake(house, client_id):
    with house.sessions() as session:
        messages.accept(session, house.intake, client_id, Submission(**reset()))
        assert take_lanes_to_wake(session) == {"token"}
        assert take_lanes_to_wake(session) == set()


def test_a_message_for_later_is_scheduled(house, client_id):
    send_at = clock.now() + timedelta(hours=1)
    message = house.message(house.accept(client_id, send_at=send_at))
    assert (message.status, message.due_at) == ("scheduled", send_at)


def test_a_message_for_the_past_is_due_now(house, client_id):
    message = house.message(house.accept(client_id, send_at=clock.now() - timedelta(hours=1)))
    assert message.status == "queued"


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@EXAMPLE.COM"])
@pytest.mark.parametrize("later", [None, timedelta(hours=1)])
def test_a_suppressed_address_is_accepted_and_never_mailed(house, client_id, email, later):
    suppress(house)
    send_at = later and clock.now() + later
    message_id = house.accept(client_id, to={"email": email, "name": ""}, send_at=send_at)
    message = house.message(message_id)
    assert (message.status, message.due_at) == ("suppressed", None)
    assert names_of(house, message_id) == ["message.accepted", "message.suppressed"]
    assert house.events(message_id)[1].data == {"reason": "complaint"}


def test_a_suppressed_sensitive_message_keeps_no_content(house, client_id):
    suppress(house)
    assert house.message(house.accept(client_id, **reset())).content is None


@pytest.mark.parametrize("later", [None, timedelta(hours=1)])
def test_with_mail_switched_off_a_message_is_recorded_and_cancelled(reopen, client_id, later):
    house = reopen(MAIL_ENABLED="false")
    message_id = house.accept(client_id, send_at=later and clock.now() + later)
    assert house.message(message_id).status == "cancelled"
    assert house.events(message_id)[-1].data == {"reason": "mail_disabled"}


def test_switching_mail_off_leaves_what_was_queued_where_it_is(house, reopen, client_id):
    message_id = house.accept(client_id)
    assert reopen(MAIL_ENABLED="false").deliver() == 0
    assert house.message(message_id).status == "queued"
    assert house.deliver() == 1


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"template": "no-such-template"}, "/template"),
        ({"variables": {}}, "/variables/name"),
        ({"variables": {"name": 7}}, "/variables/name"),
        ({"variables": {"name": "Ada", "nmae": "Ada"}}, "/variables/nmae"),
        ({"lane": "token"}, "/lane"),
        ({"expires_at": clock.now()}, "/expires_at"),
        ({"send_at": clock.now() + timedelta(days=400)}, "/send_at"),
        (
            {"send_at": clock.now() + timedelta(hours=2), "expires_at": clock.now() + timedelta(hours=1)},
            "/expires_at",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_place(house, client_id, fields, pointer):
    with pytest.raises(InvalidInputError) as caught:
        house.accept(client_id, **fields)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert house.execute("SELECT count(*) FROM messages") == [(0,)]


def test_no_variable_and_no_attachment_can_be_read_in_the_database(either, add_client):
    """T2"""
    client_id = add_client(either)
    either.accept(client_id, **reset(attachments=(FILE,)))
    either.accept(client_id, variables={"name": MARKER})
    found = dump(either)
    assert b"ada@example.com" in found
    for written in (MARKER.encode(), base64.b64encode(MARKER.encode()), MARKER.encode().hex().encode()):
        assert written not in found


def test_what_was_sealed_is_opened_again(house, client_id):
    message = house.message(house.accept(client_id, **reset(attachments=(FILE,))))
    sealer, sealed = house.intake.sealer, message.content.variables
    assert content.open_variables(sealer, message.id, sealed) == {"action_url": LINK}
    with house.sessions() as session:
        assert content.read_attachments(session, sealer, message.id) == [FILE]


def test_one_messages_content_does_not_open_as_anothers(house, client_id):
    """T2: a row copied by hand must not let one message carry another's secrets."""
    one, other = (house.message(house.accept(client_id, **reset())) for _ in range(2))
    with pytest.raises(SealBrokenError):
        content.open_variables(house.intake.sealer, one.id, other.content.variables)


def test_a_new_secret_key_still_opens_what_the_old_one_sealed(house, reopen, client_id):
    """F16"""
    message = house.message(house.accept(client_id, **reset()))
    old = house.app.config["SECRET_KEY"]
    rotated = reopen(SECRET_KEY="n" * 40, SECRET_KEY_FALLBACKS=old)
    assert content.open_variables(rotated.intake.sealer, message.id, message.content.variables) == {"action_url": LINK}
    with pytest.raises(SealBrokenError):
        content.open_variables(reopen(SECRET_KEY="n" * 40).intake.sealer, message.id, message.content.variables)


def test_another_clients_message_does_not_exist(house, client_id, add_client):
    message_id, stranger = house.accept(client_id), add_client(house, "stranger")
    with house.sessions() as session, pytest.raises(NotFoundError):
        messages.get(session, stranger, message_id)
