"""What a worker makes of a leased message: each outcome becomes a status, an attempt and an event."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from email_service.delivery import breaker
from email_service.delivery.models import RouteBreaker
from email_service.delivery.transport import Outcome, Phase, Report
from email_service.kernel import clock
from email_service.kernel.orm import database_now
from email_service.messages.models import Message
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason, Suppression
from tests.applications import PASSWORD_RESET, opened
from tests.journeys.processes import wait_until
from tests.log_capture import captured_logs, parsed
from tests.scripted_transport import ACCEPTED, DOWN, Scripted

ADA = {"email": "ada@example.com", "name": "Ada"}
LOST = Report(outcome=Outcome.UNCERTAIN, phase=Phase.FINAL)
NO_SUCH_USER = Report(
    outcome=Outcome.REFUSED, phase=Phase.RCPT, code=550, enhanced_code="5.1.1", reply="no such user here"
)
POLICY = Report(outcome=Outcome.REFUSED, phase=Phase.DATA, code=550, enhanced_code="5.7.1", reply="spam")
GREYLISTED = Report(outcome=Outcome.RETRY_LATER, phase=Phase.RCPT, code=451, enhanced_code="4.7.1", reply="later")


@pytest.fixture
def message_id(house, client_id):
    return house.accept(client_id)


def wait_is_over(house) -> None:
    """As if the time had come at which the waiting message is due again."""
    house.execute(update(Message).where(Message.due_at.is_not(None)).values(due_at=database_now()))


def seconds_until_due(house, message_id) -> float:
    [(due_at, now)] = house.execute(select(Message.due_at, database_now()).where(Message.id == message_id))
    return (due_at - now).total_seconds()


def test_a_taken_message_is_sent_with_its_attempt_and_event(either, add_client):
    message_id = either.accept(add_client(either))
    transport = Scripted([ACCEPTED])
    assert either.deliver(transport) == 1
    message, [attempt] = either.message(message_id), either.message(message_id).attempts
    assert (message.status, message.due_at, message.lease_id) == ("sent", None, None)
    assert message.finished_at >= message.created_at
    assert (attempt.transport, attempt.outcome, attempt.phase, attempt.code) == ("capture", "accepted", "final", 250)
    assert attempt.started_at <= attempt.finished_at
    event = either.events(message_id)[-1]
    assert (event.name, event.data["reason"]) == ("message.sent", "accepted_by_server")
    assert either.deliver(transport) == 0


def test_a_deferred_message_is_due_again_after_the_schedules_delay(either, add_client):
    """F6"""
    message_id, transport = either.accept(add_client(either)), Scripted([GREYLISTED])
    url = str(either.app.config["SQLALCHEMY_DATABASE_URI"])
    with opened(url, MAIL_RETRY_DELAYS="200s,400s,800s") as house:
        for attempts, delay in ((1, 200), (2, 400), (3, 800)):
            house.deliver(transport)
            message = house.message(message_id)
            assert (message.status, message.attempt_count) == ("deferred", attempts)
            assert delay - 60 < seconds_until_due(house, message_id) <= delay * 1.1
            assert house.deliver(transport) == 0
            wait_is_over(house)
    assert {parcel.content for parcel in transport.parcels} == {transport.parcels[0].content}


def test_an_unknown_address_bounces_and_is_suppressed(either, add_client):
    """F9"""
    client_id = add_client(either)
    message_id = either.accept(client_id)
    either.deliver(Scripted([NO_SUCH_USER]))
    [row] = either.execute(select(Suppression.email, Suppression.reason, Suppression.message_id))
    assert either.message(message_id).status == "bounced"
    assert tuple(row) == ("ada@example.com", "hard_bounce", message_id)
    assert either.message(either.accept(client_id)).status == "suppressed"


def test_two_bounces_at_the_same_time_make_one_suppression(either, add_client):
    client_id = add_client(either)
    ids = {either.accept(client_id), either.accept(client_id)}
    mine, theirs = either.claim()
    either.conclude(theirs, NO_SUCH_USER)
    either.conclude(mine, NO_SUCH_USER)
    assert {either.message(each).status for each in ids} == {"bounced"}
    assert either.execute(select(Suppression.message_id)) == [(theirs.message_id,)]


def test_a_message_refused_for_what_it_is_fails_and_its_address_stays_good(house, client_id, message_id):
    """F9"""
    house.deliver(Scripted([POLICY]))
    assert house.message(message_id).status == "failed"
    assert house.execute("SELECT * FROM suppressions") == []
    assert house.events(message_id)[-1].data["reply"] == "spam"


def test_a_transport_that_is_down_burns_no_attempt_and_stops_the_knocking(house, client_id, message_id, monkeypatch):
    """F9: the breaker opens, the rest of the batch goes back as it was."""
    monkeypatch.setattr(breaker, "PAUSE_SECONDS", [200.0])
    other = house.accept(client_id)
    transport = Scripted([DOWN])
    with house.delivering(transport) as dispatcher:
        dispatcher.drain("transactional")
        dispatcher.settle()
        tried = house.message(message_id)
        assert (tried.status, tried.attempt_count) == ("deferred", 0)
        assert (house.message(other).status, len(transport.parcels)) == ("queued", 1)
        assert dispatcher.drain("transactional") == 0
    [row] = house.execute(select(RouteBreaker.route, RouteBreaker.failure_count))
    assert tuple(row) == ("capture", 1)


def test_an_uncertain_message_is_sent_once_more_and_then_held(house, message_id):
    """F10"""
    transport = Scripted([LOST])
    house.deliver(transport)
    assert house.message(message_id).status == "uncertain"
    assert 290 < seconds_until_due(house, message_id) < 310
    wait_is_over(house)
    house.deliver(transport)
    message = house.message(message_id)
    assert (message.status, message.due_at, len(message.attempts)) == ("uncertain", None, 2)
    assert transport.parcels[0].content == transport.parcels[1].content
    wait_is_over(house)
    assert house.deliver(transport) == 0


def test_a_crash_defers_the_message_and_spares_the_others(house, client_id, message_id):
    """F13"""
    healthy = house.accept(client_id)
    transport = Scripted([ZeroDivisionError("a bug"), ACCEPTED])
    with captured_logs() as stream:
        assert house.deliver(transport) == 2
    assert "a bug" in next(line["exception"] for line in parsed(stream) if line["event"] == "delivery.crashed")
    assert house.message(message_id).status == "deferred"
    assert house.message(message_id).attempts[0].reply == "internal: ZeroDivisionError"
    assert house.message(healthy).status == "sent"


def test_a_message_that_cannot_be_rendered_fails_with_the_reason(house, client_id, message_id):
    """F13: its template took other variables when it was accepted than it does now."""
    healthy = house.accept(client_id)
    house.execute("UPDATE messages SET template = 'user-invitation' WHERE id = :id", id=message_id.hex)
    transport = Scripted([ACCEPTED])
    assert house.deliver(transport) == 2
    message = house.message(message_id)
    assert (message.status, message.attempts[0].phase, message.attempts[0].code) == ("failed", "prepare", None)
    assert "user-invitation" in message.attempts[0].reply
    assert house.events(message_id)[-1].data["reason"] == "cannot_be_made"
    assert message.content is not None
    assert (house.message(healthy).status, len(transport.parcels)) == ("sent", 1)


def test_a_message_that_no_key_opens_waits_for_the_key(house, reopen, client_id):
    """F16: a key left out by mistake costs no message."""
    message_id = house.accept(client_id, **PASSWORD_RESET)
    with captured_logs():
        reopen(SECRET_KEY="n" * 40).deliver(Scripted([ACCEPTED]))
    assert house.message(message_id).status == "deferred"
    wait_is_over(house)
    house.deliver(Scripted([ACCEPTED]))
    assert house.message(message_id).status == "sent"


@pytest.mark.parametrize(("report", "status"), [(ACCEPTED, "sent"), (POLICY, "failed"), (NO_SUCH_USER, "bounced")])
def test_sensitive_content_is_wiped_at_the_end_and_other_content_kept(house, client_id, report, status):
    """T2"""
    sensitive, plain = (
        house.accept(client_id, **PASSWORD_RESET),
        house.accept(client_id, to={"email": "b@example.com", "name": ""}),
    )
    house.deliver(Scripted([report]))
    assert [house.message(each).status for each in (sensitive, plain)] == [status, status]
    assert house.message(sensitive).content is None
    assert house.message(plain).content is not None


def test_a_deferred_sensitive_message_keeps_its_content(house, client_id):
    message_id = house.accept(client_id, **PASSWORD_RESET)
    house.deliver(Scripted([GREYLISTED]))
    assert house.message(message_id).content is not None


def test_a_message_that_expired_is_not_sent(either, add_client):
    client_id, transport = add_client(either), Scripted([ACCEPTED])
    message_id = either.accept(client_id, expires_at=clock.now() + timedelta(hours=1))
    either.execute(update(Message).values(expires_at=database_now(timedelta(seconds=-1))))
    either.deliver(transport)
    assert (either.message(message_id).status, transport.parcels) == ("expired", [])


def test_a_deferred_message_is_looked_at_when_it_expires(house, client_id):
    expires_at = clock.now() + timedelta(minutes=30)
    message_id = house.accept(client_id, expires_at=expires_at)
    house.execute("UPDATE messages SET attempt_count = 7")
    house.deliver(Scripted([GREYLISTED]))
    assert house.message(message_id).due_at == expires_at


def test_an_address_suppressed_since_is_not_mailed(house, message_id):
    with house.sessions.begin() as session:
        suppressions.suppress(session, "ADA@example.com", Reason.MANUAL)
    transport = Scripted([ACCEPTED])
    house.deliver(transport)
    assert (house.message(message_id).status, transport.parcels) == ("suppressed", [])
    assert house.events(message_id)[-1].data == {"reason": "manual"}


def test_a_result_that_comes_after_the_lease_was_lost_changes_nothing(either, add_client):
    """F1: the attempt is kept as evidence, the status belongs to the new holder."""
    message_id = either.accept(add_client(either))
    [lost] = either.claim()

    either.execute(update(Message).values(due_at=database_now(timedelta(seconds=-1))))
    [held] = either.claim()
    either.conclude(lost, NO_SUCH_USER)
    message = either.message(message_id)
    assert (message.status, message.lease_id) == ("sending", held.lease_id)
    assert [attempt.outcome for attempt in message.attempts] == ["refused"]
    assert either.execute("SELECT * FROM suppressions") == []


def test_a_message_whose_worker_died_is_sent_by_the_next_with_a_note(either, add_client):
    """F1, F2"""
    message_id = either.accept(add_client(either))
    either.claim()
    wait_is_over(either)
    transport = Scripted([ACCEPTED])
    either.deliver(transport)
    assert (either.message(message_id).status, len(transport.parcels)) == ("sent", 1)
    names = [event.name for event in either.events(message_id)]
    assert names == ["message.accepted", "message.lease_lost", "message.sent"]


def test_a_message_that_kills_every_worker_is_held_at_last(house, message_id):
    """F13"""
    transport = Scripted([ACCEPTED])
    for _ in range(6):
        house.claim()
        wait_is_over(house)
    house.deliver(transport)
    message = house.message(message_id)
    assert (message.status, message.due_at, transport.parcels) == ("uncertain", None, [])


def test_stopping_gives_back_what_was_not_begun(house, client_id, message_id):
    """F15"""
    waiting = [house.accept(client_id) for _ in range(3)]

    class Stopping(Scripted):
        def send(self, **given) -> Report:
            dispatcher.ask_to_stop()
            return super().send(**given)

    transport = Stopping([ACCEPTED])
    with house.delivering(transport) as dispatcher:
        dispatcher.drain("transactional")
        wait_until(lambda: transport.parcels)
    assert house.message(message_id).status == "sent"
    assert {house.message(each).status for each in waiting} == {"queued"}


@pytest.mark.parametrize("trace", ["uncertain_count", "lost_lease_count"])
def test_what_may_have_left_the_house_never_becomes_expired(house, client_id, trace):
    """F10: `expired` says that nothing was ever sent."""
    message_id = house.accept(client_id, expires_at=clock.now() + timedelta(hours=1))
    house.execute(f"UPDATE messages SET status = 'deferred', {trace} = 1")
    house.execute(update(Message).values(expires_at=database_now()))
    transport = Scripted([ACCEPTED])
    house.deliver(transport)
    assert (house.message(message_id).status, transport.parcels) == ("uncertain", [])


def test_a_copy_to_a_suppressed_address_is_held_back(house, client_id):
    others = ({"email": "bob@example.com", "name": ""}, {"email": "eve@example.com", "name": ""})
    message_id = house.accept(client_id, cc=others[:1], bcc=others[1:])
    with house.sessions.begin() as session:
        suppressions.suppress(session, "Eve@example.com", Reason.MANUAL)
    transport = Scripted([ACCEPTED])
    house.deliver(transport)
    assert transport.parcels[0].others == ("bob@example.com",)
    assert house.message(message_id).attempts[0].refused == {"eve@example.com": "suppressed"}
