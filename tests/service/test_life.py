"""A message that was accepted is cancelled, or starts over after it came to nothing."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from email_service.audit.models import AuditEvent
from email_service.kernel import clock
from email_service.kernel.errors import NotFoundError, StatusConflictError
from email_service.messages import life
from email_service.messages.life import Terms
from email_service.messages.models import Message
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests.applications import CATALOG, PASSWORD_RESET

HOUR = timedelta(hours=1)


def test_a_waiting_message_is_cancelled_and_not_delivered(house, client_id):
    message_id = house.accept(client_id, **PASSWORD_RESET)
    with house.sessions.begin() as session:
        life.cancel(session, client_id, message_id)
    assert house.deliver() == 0
    assert (house.message(message_id).status, house.captured()) == ("cancelled", [])
    assert house.message(message_id).content is None


@pytest.mark.parametrize("status", ["sending", "sent", "failed", "uncertain", "cancelled", "suppressed"])
def test_a_message_that_does_not_wait_cannot_be_cancelled(house, client_id, status):
    message_id = house.accept(client_id)
    house.execute("UPDATE messages SET status = :status", status=status)
    with house.sessions.begin() as session, pytest.raises(StatusConflictError):
        life.cancel(session, client_id, message_id)
    assert house.message(message_id).status == status


@pytest.mark.parametrize("status", ["failed", "bounced", "uncertain", "expired"])
def test_a_retry_starts_over(either, add_client, status):
    client_id = add_client(either)
    message_id = either.accept(client_id)
    spoilt = "status = :status, due_at = NULL, attempt_count = 9, uncertain_count = 1, lost_lease_count = 2"
    either.execute(f"UPDATE messages SET {spoilt}", status=status)
    with either.sessions.begin() as session:
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))
    message = either.message(message_id)
    assert (message.status, message.attempt_count, message.uncertain_count, message.lost_lease_count) == (
        "queued",
        0,
        0,
        0,
    )
    assert message.finished_at is None
    assert either.deliver() == 1
    assert either.message(message_id).status == "sent"


def test_a_retry_of_an_expired_message_lifts_its_expiry(house, client_id):
    message_id = house.accept(client_id, expires_at=clock.now() + timedelta(hours=1))
    with house.sessions.begin() as session:
        message = session.get(Message, message_id)
        message.status, message.expires_at = "expired", clock.now() - timedelta(hours=1)
    with house.sessions.begin() as session:
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))
    house.deliver()
    assert house.message(message_id).status == "sent"


@pytest.mark.parametrize("status", ["queued", "scheduled", "sending", "deferred", "sent", "cancelled", "suppressed"])
def test_a_message_that_did_not_fail_cannot_be_retried(house, client_id, status):
    message_id = house.accept(client_id)
    house.execute("UPDATE messages SET status = :status", status=status)
    with house.sessions.begin() as session, pytest.raises(StatusConflictError):
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))


def test_a_message_whose_content_was_wiped_cannot_be_retried(house, client_id):
    message_id = house.accept(client_id)
    house.execute("UPDATE messages SET status = 'failed'")
    house.execute("DELETE FROM message_contents")
    with house.sessions.begin() as session, pytest.raises(StatusConflictError, match="not kept any more"):
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))


def test_a_retry_while_mail_is_switched_off_sends_nothing_later_either(house, client_id):
    message_id = house.accept(client_id)
    house.execute("UPDATE messages SET status = 'failed', due_at = NULL")
    with house.sessions.begin() as session:
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG, is_mail_off=True))
    assert house.message(message_id).status == "cancelled"
    assert house.message(message_id).due_at is None


def test_a_sensitive_message_whose_time_is_over_cannot_be_retried(house, client_id):
    """A reset link is not sent once its token is dead."""
    message_id = house.accept(client_id, expires_at=clock.now() + timedelta(hours=1))
    with house.sessions.begin() as session:
        message = session.get(Message, message_id)
        message.status, message.is_sensitive = "uncertain", True
        message.expires_at = clock.now() - timedelta(seconds=1)
    with house.sessions.begin() as session, pytest.raises(StatusConflictError, match="expired"):
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))


@pytest.mark.parametrize("act", [life.cancel, life.reschedule, life.retry])
def test_nobody_changes_another_clients_message(house, client_id, add_client, act):
    message_id, stranger = house.accept(client_id), add_client(house, "stranger")
    more = {life.reschedule: ({"send_at": None},), life.retry: (Terms(catalog=CATALOG),)}.get(act, ())
    with house.sessions() as session, pytest.raises(NotFoundError):
        act(session, stranger, message_id, *more)


def test_a_retry_of_a_forced_message_overrides_the_suppression_again_and_is_audited(house, client_id):
    message_id = house.accept(client_id, **PASSWORD_RESET, is_forced=True)
    house.execute("UPDATE messages SET status = 'failed', due_at = NULL")
    with house.sessions.begin() as session:
        suppressions.suppress(session, "ada@example.com", Reason.HARD_BOUNCE)
    with house.sessions.begin() as session:
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))
    assert house.message(message_id).status == "queued"
    [told] = house.execute(select(AuditEvent.client_id, AuditEvent.data).where(AuditEvent.name.like("%overridden")))
    assert tuple(told) == (client_id, {"message_id": str(message_id), "reason": "hard_bounce"})
