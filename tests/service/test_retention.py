"""What is forgotten and what stays: by age and status, in small batches, by several at once, on both databases."""

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import func, select

from email_service import engine
from email_service.audit.models import AuditEvent
from email_service.delivery.models import SendRate
from email_service.idempotency.models import IdempotencyRecord
from email_service.inbox.models import CapturedMail
from email_service.kernel import clock
from email_service.kernel.errors import StatusConflictError
from email_service.kernel.orm import first_id_at, new_id
from email_service.messages import life
from email_service.messages.models import DeliveryAttempt, Event, Message, MessageContent
from email_service.messages.state import FINAL, Status
from email_service.retention import batches
from email_service.retention.batches import START
from email_service.retention.policy import Policy
from email_service.retention.purge import Purge, count
from email_service.suppressions.models import Reason, Suppression
from email_service.tokens.models import TokenRequest
from tests.aged import add_aged
from tests.applications import CATALOG

POLICY = Policy(retention_days=90, content_retention_days=7, audit_retention_days=365)
UNFINISHED = sorted(frozenset(Status) - FINAL)


@pytest.fixture
def client_of(either, add_client) -> UUID:
    return add_client(either)


def add(house, client_id: UUID, days: float, status: str = "sent", **fields) -> UUID:
    with house.sessions.begin() as session:
        return add_aged(session, client_id, days, status, **fields)


def purge(house, policy: Policy = POLICY, **options) -> Counter:
    return Purge(house.sessions, policy, **options).run(lambda _: None)


def left(house, column=Message.id) -> set[UUID]:
    with house.sessions() as session:
        return set(session.scalars(select(column)))


def test_what_finished_long_ago_goes_with_all_that_hangs_on_it(either, client_of):
    for status in FINAL:
        add(either, client_of, 91, status)
    kept = {add(either, client_of, 89, status) for status in FINAL}
    assert purge(either)["messages"] == len(FINAL)
    for column in (Message.id, Event.message_id, DeliveryAttempt.message_id):
        assert left(either, column) == kept


@pytest.mark.parametrize("status", UNFINISHED)
def test_what_never_finished_stays_with_its_content(either, client_of, status):
    message_id = add(either, client_of, 400, status)
    purge(either)
    assert left(either) == left(either, MessageContent.message_id) == {message_id}
    assert len(either.events(message_id)) == 2


def test_what_finished_late_stays_however_old_it_is(either, client_of):
    """A message that was scheduled, or retried by hand, counts from its end."""
    message_id = add(either, client_of, 400, finished_at=clock.now() - timedelta(days=6))
    purge(either)
    assert left(either, MessageContent.message_id) == {message_id}


def test_content_goes_before_the_message(either, client_of):
    add(either, client_of, 8)
    kept = add(either, client_of, 6)
    removed = purge(either)
    assert (removed["contents"], removed["messages"]) == (1, 0)
    assert left(either, MessageContent.message_id) == {kept}
    assert len(left(either)) == 2


def test_content_may_be_kept_for_no_day_at_all(either, client_of):
    add(either, client_of, 0.001)
    waiting = add(either, client_of, 0.001, "queued")
    purge(either, Policy(retention_days=1, content_retention_days=0, audit_retention_days=1))
    assert left(either, MessageContent.message_id) == {waiting}


@pytest.mark.parametrize(
    ("days", "fields", "is_kept"),
    [
        (8, {"is_sensitive": True}, False),
        (6, {"is_sensitive": True}, True),
        (8, {"is_sensitive": False}, True),
        (8, {"is_sensitive": True, "due_at": clock.now()}, True),  # it is tried once more by itself
        (400, {"is_sensitive": True, "round_began_at": clock.now() - timedelta(days=6)}, True),
    ],
)
def test_a_secret_that_is_held_as_uncertain_is_kept_for_its_time_and_no_longer(
    either, client_of, days, fields, is_kept
):
    """T10"""
    message_id = add(either, client_of, days, "uncertain", **fields)
    purge(either)
    assert left(either) == {message_id}
    assert left(either, MessageContent.message_id) == ({message_id} if is_kept else set())


def test_a_message_without_its_content_cannot_be_retried(either, client_of):
    message_id = add(either, client_of, 8, "failed")
    purge(either)
    with either.sessions.begin() as session, pytest.raises(StatusConflictError):
        life.retry(session, client_of, message_id, life.Terms(catalog=CATALOG))


def test_each_other_kind_goes_at_its_own_age(either, client_of):
    now, day = clock.now(), timedelta(days=1)
    mail = {"recipients": [], "subject": "", "html": "", "text": "", "source": b"", "message_id": new_id()}
    fact = {"name": "x.done", "actor": "operator", "subject": "", "data": {}}
    answer = {"client_id": client_of, "route": "r", "body_hash": b"", "answer": {}}
    request = {"purpose": "magic_link", "request_id": "r", "due_at": now, "try_count": 0}
    with either.sessions.begin() as session:
        for age in (89, 91):
            session.add(CapturedMail(created_at=now - age * day, **mail))
        for age in (364, 366):
            session.add(AuditEvent(id=first_id_at(now - age * day), occurred_at=now - age * day, **fact))
        for hours in (71, 73):
            session.add(IdempotencyRecord(key=str(hours), created_at=now - timedelta(hours=hours), **answer))
        for hours in (23, 25):
            session.add(SendRate(key=f"domain:{hours}", next_at=now - timedelta(hours=hours)))
            session.add(TokenRequest(email=f"{hours}@b.de", requested_at=now - timedelta(hours=hours), **request))
    expected = {"contents": 0, "messages": 0, "tokens": 0, "sessions": 0} | dict.fromkeys(
        ("captured mails", "audit events", "idempotency records", "token requests", "send rates"), 1
    )
    with either.sessions() as session:
        assert count(session, POLICY) == expected
    assert purge(either) == expected
    assert (left(either, IdempotencyRecord.key), left(either, SendRate.key)) == ({"71"}, {"domain:23"})
    assert left(either, TokenRequest.email) == {"23@b.de"}
    with either.sessions() as session:
        assert session.scalars(select(CapturedMail.created_at)).one() > now - 90 * day
        assert session.scalars(select(AuditEvent.occurred_at)).one() > now - 365 * day


def test_a_suppression_outlives_the_message_that_caused_it(either, client_of):
    message_id = add(either, client_of, 91, "bounced")
    with either.sessions.begin() as session:
        of_bounce = {"reason": Reason.HARD_BOUNCE, "message_id": message_id, "created_at": clock.now()}
        session.add(Suppression(key="ada@example.com", email="ada@example.com", **of_bounce))
    purge(either)
    assert left(either) == set()
    assert left(either, Suppression.message_id) == {message_id}


def test_no_transaction_deletes_more_messages_than_a_batch(either, client_of):
    for number in range(7):
        add(either, client_of, 91 + number)
    present = [7]
    Purge(either.sessions, POLICY, limit=3).run(lambda _: present.append(len(left(either))))
    assert present[-1] == 0
    assert max(before - after for before, after in pairwise(present)) == 3


def test_a_batch_goes_on_where_the_last_one_stopped_and_never_looks_at_more_rows_than_it_may(either, client_of):
    """What has to stay lies before what may go: a scheduled million must not be read again for each batch."""
    stuck = sorted(add(either, client_of, 200, "scheduled") for _ in range(5))
    for _ in range(2):
        add(either, client_of, 100)
    places, cursor = [], START
    while cursor is not None:
        with either.sessions.begin() as session:
            batch = batches.delete_messages(session, POLICY.cutoffs(), cursor, 3)
        places.append((batch.removed, batch.cursor))
        cursor = batch.cursor
    assert places[0] == (0, stuck[2])
    assert [removed for removed, _ in places] == [0, 1, 1]


def test_a_turn_ends_in_time_and_the_next_one_goes_on_from_there(either, client_of):
    stuck = [add(either, client_of, 200, "scheduled") for _ in range(4)]
    for _ in range(4):
        add(either, client_of, 100)
    deleter = Purge(either.sessions, POLICY, limit=2)
    # A turn of no time is one batch of one kind.
    turns = [deleter.tidy(seconds=0) for _ in range(40)]
    assert left(either) == set(stuck)
    assert sum(turns) == 8  # and their contents
    assert max(turns) <= 2


def test_whoever_is_interrupted_has_lost_nothing_and_begins_again(either, client_of):
    """F12"""
    for number in range(6):
        add(either, client_of, 91 + number)

    def interrupt(removed: Counter) -> None:
        if removed["messages"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Purge(either.sessions, POLICY, limit=2).run(interrupt)
    assert len(left(either)) == 2
    assert left(either, Event.message_id) == left(either)
    assert purge(either, limit=2)["messages"] == 2


def test_two_at_once_share_the_work_and_neither_waits(on_postgres, add_client):
    client_id = add_client(on_postgres)
    for number in range(6):
        add(on_postgres, client_id, 91 + number)
    with on_postgres.sessions() as first, on_postgres.sessions() as second:
        for session in (first, second):
            session.execute(select(func.set_config("lock_timeout", "2s", True)))
        cutoffs = POLICY.cutoffs()
        assert batches.delete_messages(first, cutoffs, START, 4).removed == 4
        passed = batches.delete_messages(second, cutoffs, START, 4)
        rest = batches.delete_messages(second, cutoffs, passed.cursor, 4)
        first.commit()
        second.commit()
    assert (passed.removed, rest.removed) == (0, 2)
    assert left(on_postgres) == set()


def test_two_at_once_pass_each_others_other_rows_too(on_postgres):
    with on_postgres.sessions.begin() as session:
        for number in range(4):
            session.add(SendRate(key=str(number), next_at=clock.now() - timedelta(days=2)))
    with on_postgres.sessions() as first, on_postgres.sessions() as second:
        second.execute(select(func.set_config("lock_timeout", "2s", True)))
        removed = [batches.delete_send_rates(each, POLICY.cutoffs(), START, 3).removed for each in (first, second)]
        first.commit()
        second.commit()
    assert removed == [3, 1]


def test_a_message_that_is_being_retried_keeps_its_content(on_postgres, add_client):
    """The retry holds the row and needs the content; who wipes passes it by."""
    client_id = add_client(on_postgres)
    message_id = add(on_postgres, client_id, 8, "failed")
    with on_postgres.sessions() as session:
        life.retry(session, client_id, message_id, life.Terms(catalog=CATALOG))
        assert purge(on_postgres)["contents"] == 0
        session.commit()
    assert purge(on_postgres)["contents"] == 0
    assert left(on_postgres, MessageContent.message_id) == {message_id}


def test_counting_names_what_would_go_and_changes_nothing(either, client_of):
    for days in (5, 8, 91, 92):
        add(either, client_of, days)
    add(either, client_of, 400, "queued")
    add(either, client_of, 400, "uncertain", is_sensitive=True)
    with either.sessions() as session:
        counted = count(session, POLICY)
    # The contents of old messages are wiped first, so they count as contents as well.
    assert (counted["contents"], counted["messages"]) == (4, 2)
    assert purge(either) == counted


def test_a_shorter_time_for_messages_shortens_that_of_their_content():
    assert POLICY.shortened(3) == Policy(retention_days=3, content_retention_days=3, audit_retention_days=365)
    assert POLICY.shortened(30).content_retention_days == 7


def test_the_service_tidies_by_its_settings(reopen, client_id):
    house = reopen(RETENTION_DAYS="30", CONTENT_RETENTION_DAYS="2")
    add(house, client_id, 31)
    kept = add(house, client_id, 29)
    assert engine.create_tidy(house.app)() == 3
    assert left(house) == {kept}
    assert left(house, MessageContent.message_id) == set()
