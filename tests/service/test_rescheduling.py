"""A message that was accepted gets other times, or a newer one takes its place; both may meet a claim."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaitingError
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from email_service.delivery import outbox
from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError, StatusConflictError
from email_service.kernel.orm import database_now, take_lanes_to_wake
from email_service.messages import life
from email_service.messages.life import Terms
from email_service.messages.models import Message
from tests.applications import CATALOG, PASSWORD_RESET

HOUR = timedelta(hours=1)


def claim(house, client_id, lane: str = "transactional"):
    with house.sessions.begin() as session:
        return outbox.claim(session, lane, client_id, 10, 180.0)


def reschedule(house, client_id, message_id, **wanted) -> set[str]:
    """Which lanes were woken by it."""
    with house.sessions.begin() as session:
        life.reschedule(session, client_id, message_id, wanted)
        return take_lanes_to_wake(session)


def supersede(house, message_id) -> None:
    with house.sessions.begin() as session:
        life.supersede(session, message_id)


def names_of(house, message_id) -> list[str]:
    return [event.name for event in house.events(message_id)]


@pytest.mark.parametrize("status", ["scheduled", "queued", "deferred"])
def test_a_waiting_message_is_put_off_and_begins_another_round(either, add_client, status):
    client_id = add_client(either)
    message_id = either.accept(client_id)
    either.execute("UPDATE messages SET status = :status, attempt_count = 7, held_by = 'route_down'", status=status)
    send_at = clock.now() + HOUR
    assert reschedule(either, client_id, message_id, send_at=send_at) == set()
    message = either.message(message_id)
    assert (message.status, message.send_at, message.due_at) == ("scheduled", send_at, send_at)
    assert (message.round_began_at, message.attempt_count, message.held_by) == (send_at, 0, None)
    assert claim(either, client_id) == []
    told = next(event.data for event in either.events(message_id) if event.name == "message.rescheduled")
    assert told == {
        "before": {"send_at": None, "expires_at": None},
        "after": {"send_at": clock.written(send_at), "expires_at": None},
    }


@pytest.mark.parametrize("send_at", [None, clock.now() - HOUR])
@pytest.mark.parametrize("status", ["scheduled", "deferred"])
def test_no_time_and_a_past_time_mean_now(either, add_client, status, send_at):
    client_id = add_client(either)
    message_id = either.accept(client_id, send_at=clock.now() + HOUR)
    either.execute("UPDATE messages SET status = :status", status=status)
    assert reschedule(either, client_id, message_id, send_at=send_at) == {"transactional"}
    message = either.message(message_id)
    assert (message.status, message.send_at) == ("queued", send_at)
    assert abs(message.round_began_at - clock.now()) < timedelta(seconds=10)
    assert [lease.message_id for lease in claim(either, client_id)] == [message_id]


def test_a_message_that_is_due_keeps_its_place_in_the_line(house, client_id):
    message_id = house.accept(client_id)
    due_at = house.message(message_id).due_at
    reschedule(house, client_id, message_id, send_at=None)
    assert house.message(message_id).due_at == due_at


def test_another_expiry_leaves_the_next_try_where_it_is(house, client_id):
    send_at, expires_at = clock.now() + HOUR, clock.now() + 2 * HOUR
    message_id = house.accept(client_id, send_at=send_at)
    house.execute("UPDATE messages SET attempt_count = 2")
    reschedule(house, client_id, message_id, expires_at=expires_at)
    message = house.message(message_id)
    assert (message.status, message.due_at, message.expires_at) == ("scheduled", send_at, expires_at)
    assert message.attempt_count == 2
    reschedule(house, client_id, message_id, expires_at=None)
    assert house.message(message_id).expires_at is None


def test_a_message_that_expires_before_its_next_try_is_looked_at_when_it_expires(house, client_id):
    message_id = house.accept(client_id)
    expires_at = clock.now() + HOUR
    late = update(Message).values(status="deferred", due_at=database_now(2 * HOUR))
    house.execute(late)
    reschedule(house, client_id, message_id, expires_at=expires_at)
    assert house.message(message_id).due_at == expires_at


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"send_at": clock.now() + timedelta(days=400)}, "/send_at"),
        ({"expires_at": clock.now()}, "/expires_at"),
        ({"send_at": clock.now() + 3 * HOUR, "expires_at": clock.now() + 2 * HOUR}, "/expires_at"),
        ({"send_at": clock.now() + 24 * HOUR}, "/send_at"),
        ({"expires_at": clock.now() + HOUR / 2}, "/expires_at"),
    ],
)
def test_times_are_checked_as_when_it_was_accepted(house, client_id, wanted, pointer):
    times = {"send_at": clock.now() + HOUR, "expires_at": clock.now() + 10 * HOUR}
    message_id = house.accept(client_id, **times)
    with pytest.raises(InvalidInputError) as caught:
        reschedule(house, client_id, message_id, **wanted)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert house.message(message_id).send_at == times["send_at"]
    assert names_of(house, message_id) == ["message.accepted"]


@pytest.mark.parametrize("status", ["sending", "sent", "failed", "uncertain", "cancelled", "expired", "suppressed"])
def test_what_does_not_wait_cannot_be_rescheduled(house, client_id, status):
    message_id = house.accept(client_id)
    house.execute("UPDATE messages SET status = :status", status=status)
    with pytest.raises(StatusConflictError, match=status):
        reschedule(house, client_id, message_id, send_at=None)


def test_a_claim_passes_over_a_message_that_is_being_rescheduled(on_postgres, add_client):
    """F8"""
    client_id = add_client(on_postgres)
    message_id = on_postgres.accept(client_id)
    with on_postgres.sessions.begin() as session:
        life.reschedule(session, client_id, message_id, {"send_at": clock.now() + HOUR})
        assert claim(on_postgres, client_id) == []
    assert claim(on_postgres, client_id) == []
    assert on_postgres.message(message_id).status == "scheduled"


@pytest.mark.parametrize("act", ["reschedule", "cancel"])
def test_a_change_that_meets_a_claim_waits_for_it_and_is_refused(on_postgres, add_client, act):
    """F8"""
    client_id = add_client(on_postgres)
    message_id = on_postgres.accept(client_id)

    def change() -> None:
        with on_postgres.sessions.begin() as session:
            if act == "cancel":
                life.cancel(session, client_id, message_id)
            else:
                life.reschedule(session, client_id, message_id, {"send_at": clock.now() + HOUR})

    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            assert len(outbox.claim(session, "transactional", client_id, 10, 180.0)) == 1
            changed = pool.submit(change)
            with pytest.raises(StillWaitingError):
                changed.result(0.5)
        with pytest.raises(StatusConflictError, match="sending"):
            changed.result(30)
    assert on_postgres.message(message_id).status == "sending"


@pytest.mark.parametrize("status", ["scheduled", "queued", "deferred"])
def test_a_superseded_message_that_waits_is_expired_and_keeps_no_secret(either, add_client, status):
    message_id = either.accept(add_client(either), **PASSWORD_RESET)
    either.execute("UPDATE messages SET status = :status", status=status)
    supersede(either, message_id)
    message = either.message(message_id)
    assert (message.status, message.due_at, message.content) == ("expired", None, None)
    assert names_of(either, message_id)[1:] == ["message.superseded", "message.expired"]
    assert either.events(message_id)[-1].data == {"reason": "superseded"}


def test_while_it_is_sent_its_expiry_is_moved_to_now(either, add_client):
    client_id = add_client(either)
    message_id = either.accept(client_id, **PASSWORD_RESET, expires_at=clock.now() + HOUR)
    [lease] = claim(either, client_id, "token")
    supersede(either, message_id)
    message = either.message(message_id)
    assert (message.status, message.lease_id) == ("sending", lease.lease_id)
    assert names_of(either, message_id)[1:] == ["message.superseded"]
    [(is_expired,)] = either.execute(select(Message.expires_at <= database_now()))
    assert is_expired


def test_a_superseded_message_gets_no_further_try_after_the_present_one(either, add_client):
    client_id = add_client(either)
    message_id = either.accept(client_id, **PASSWORD_RESET)
    [lease] = claim(either, client_id, "token")
    supersede(either, message_id)
    with either.sessions.begin() as session:
        outbox.give_back(session, [lease])
    either.deliver()
    assert either.message(message_id).status == "expired"
    assert either.captured() == []


@pytest.mark.parametrize("trace", ["uncertain_count", "lost_lease_count"])
@pytest.mark.parametrize("status", ["uncertain", "deferred"])
def test_a_superseded_message_that_may_have_arrived_ends_as_uncertain(either, add_client, trace, status):
    """F10: `expired` says that nothing was ever sent."""
    message_id = either.accept(add_client(either), **PASSWORD_RESET)
    either.execute(f"UPDATE messages SET status = :status, {trace} = 1", status=status)
    either.execute(update(Message).values(due_at=database_now(HOUR)))
    supersede(either, message_id)
    either.deliver()
    message = either.message(message_id)
    assert (message.status, message.due_at) == ("uncertain", None)
    assert either.captured() == []


@pytest.mark.parametrize("status", ["sent", "failed", "bounced", "cancelled", "suppressed", "expired"])
def test_what_is_over_is_not_superseded(house, client_id, status):
    message_id = house.accept(client_id)
    house.execute("UPDATE messages SET status = :status, due_at = NULL", status=status)
    supersede(house, message_id)
    message = house.message(message_id)
    assert (message.status, message.expires_at) == (status, None)
    assert names_of(house, message_id) == ["message.accepted"]


def test_a_superseded_message_neither_starts_over_nor_gets_other_times(house, client_id):
    message_id = house.accept(client_id)
    claim(house, client_id)
    supersede(house, message_id)
    house.execute("UPDATE messages SET status = 'deferred', lease_id = NULL")
    with pytest.raises(StatusConflictError, match="newer"):
        reschedule(house, client_id, message_id, expires_at=None)
    house.execute("UPDATE messages SET status = 'expired', due_at = NULL")
    with house.sessions.begin() as session, pytest.raises(StatusConflictError, match="newer"):
        life.retry(session, client_id, message_id, Terms(catalog=CATALOG))


def test_superseding_meets_a_claim_and_still_ends_the_message(on_postgres, add_client):
    """F8"""
    client_id = add_client(on_postgres)
    message_id = on_postgres.accept(client_id, **PASSWORD_RESET)
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            outbox.claim(session, "token", client_id, 10, 180.0)
            superseded = pool.submit(supersede, on_postgres, message_id)
            with pytest.raises(StillWaitingError):
                superseded.result(0.5)
        superseded.result(30)
    message = on_postgres.message(message_id)
    assert message.status == "sending"
    assert message.expires_at is not None


@pytest.mark.parametrize("expires_at", [None, HOUR])
def test_the_mail_of_a_token_is_never_allowed_to_outlive_it(house, client_id, expires_at):
    """DESIGN 5: a token mail is never sent after its token died."""
    nonce, dies_at = b"n" * 36, clock.now() + HOUR / 2
    message_id = house.accept(client_id, **PASSWORD_RESET, expires_at=dies_at, token_nonce=nonce)
    with pytest.raises(InvalidInputError, match="carries a token"):
        reschedule(house, client_id, message_id, expires_at=expires_at and clock.now() + expires_at)
    reschedule(house, client_id, message_id, expires_at=dies_at - HOUR / 4)
    assert house.message(message_id).expires_at == dies_at - HOUR / 4
