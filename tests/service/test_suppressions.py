"""Addresses that must not be mailed: found by whatever spelling, changed under races, and every change audited."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaitingError

import pytest
from sqlalchemy import event, select

from email_service.audit.models import AuditEvent
from email_service.audit.service import Actor
from email_service.kernel.categories import EVERYTHING, OPTIONAL
from email_service.kernel.errors import InvalidInputError, NotFoundError
from email_service.kernel.orm import new_id
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason, Suppression

SHOP = Actor(name="client:shop", ip="192.0.2.7", request_id="r-1")


def put(house, email: str, reason: Reason | None = None, category: str = EVERYTHING) -> bool:
    with house.sessions.begin() as session:
        return suppressions.put(session, email, category, reason, SHOP)[1]


def audited(house) -> list[tuple]:
    columns = (AuditEvent.name, AuditEvent.actor, AuditEvent.subject, AuditEvent.data)
    return [tuple(row) for row in house.execute(select(*columns).order_by(AuditEvent.id))]


def test_what_a_worker_learns_is_kept_once_and_audited(either):
    first, second = new_id(), new_id()
    for message_id in (first, second):
        with either.sessions.begin() as session:
            suppressions.suppress(session, "Ada@example.com", Reason.HARD_BOUNCE, message_id)
    [row] = either.execute(select(Suppression.email, Suppression.reason, Suppression.message_id))
    assert tuple(row) == ("Ada@example.com", "hard_bounce", first)
    assert audited(either) == [
        (
            "suppression.added",
            "worker",
            "Ada@example.com",
            {"reason": "hard_bounce", "message_id": str(first)},
        )
    ]


def test_many_addresses_are_looked_up_in_one_query(either):
    for email in ("ada@example.com", "EVE@example.com", "x@faß.de"):
        put(either, email)
    seen = []
    with either.sessions() as session:
        session.connection()
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", note := lambda *given: seen.append(given[2]))
        emails = ["ADA@example.com", "eve@example.com", "x@xn--fa-hia.de", "bob@example.com"]
        found = suppressions.look_up(session, emails)
        event.remove(engine, "before_cursor_execute", note)
        assert suppressions.look_up(session, []).by_key == {}
    rows = {email: row.email for email in emails if (row := found.find(email, None))}
    assert rows == {
        "ADA@example.com": "ada@example.com",
        "eve@example.com": "EVE@example.com",
        "x@xn--fa-hia.de": "x@xn--fa-hia.de",
    }
    assert len(seen) == 1


def test_a_category_stops_its_own_mail_and_what_is_optional_all_of_it(either):
    for number, category in enumerate((EVERYTHING, OPTIONAL, "news")):
        assert put(either, f"a{number}@example.com", category=category)
    with either.sessions() as session:
        found = suppressions.look_up(session, [f"a{number}@example.com" for number in range(4)])
    stopped = {
        category: [bool(found.find(f"a{number}@example.com", category)) for number in range(4)]
        for category in (None, "news", "tips")
    }
    assert stopped == {
        None: [True, False, False, False],
        "news": [True, True, True, False],
        "tips": [True, True, False, False],
    }


def test_categories_of_one_address_are_suppressed_and_removed_apart(either):
    assert [put(either, "ada@example.com", category=each) for each in (EVERYTHING, "news", "news")] == [
        True,
        True,
        False,
    ]
    assert put(either, "ada@example.com", Reason.COMPLAINT, "news") is False
    with either.sessions.begin() as session:
        suppressions.remove(session, "ada@example.com", EVERYTHING, SHOP)
    assert either.execute(select(Suppression.category, Suppression.reason)) == [("news", "complaint")]
    told = [(name, data.get("category")) for name, _, _, data in audited(either)]
    assert told == [
        ("suppression.added", None),
        ("suppression.added", "news"),
        ("suppression.changed", "news"),
        ("suppression.removed", None),
    ]


@pytest.mark.parametrize("written", ["Ada@EXAMPLE.com", "ada@example.com", "ADA@Example.Com"])
def test_spellings_of_one_address_are_one_suppression(either, written):
    assert put(either, "ada@example.com") is True
    assert put(either, written) is False
    with either.sessions() as session:
        assert suppressions.get(session, written, EVERYTHING).email == "ada@example.com"


def test_putting_again_keeps_the_reason_unless_another_one_is_given(either):
    """The message that bounced is forgotten when the reason is no longer its bounce."""
    with either.sessions.begin() as session:
        suppressions.suppress(session, "ada@example.com", Reason.HARD_BOUNCE, new_id())
    for reason, kept in ((None, "hard_bounce"), (Reason.HARD_BOUNCE, "hard_bounce"), (Reason.COMPLAINT, "complaint")):
        assert put(either, "ada@example.com", reason) is False
        [row] = either.execute(select(Suppression.reason, Suppression.message_id))
        assert (row.reason, row.message_id is None) == (kept, kept == "complaint")
    assert [row[0] for row in audited(either)] == ["suppression.added", "suppression.changed"]
    assert audited(either)[1][3] == {"before": "hard_bounce", "after": "complaint"}


def test_removing_is_audited_with_what_was_removed(either):
    put(either, "ada@example.com", Reason.UNSUBSCRIBE)
    with either.sessions.begin() as session:
        suppressions.remove(session, "ADA@example.com", EVERYTHING, SHOP)
    assert either.execute(select(Suppression.key)) == []
    name, actor, subject, data = audited(either)[-1]
    assert (name, actor, subject) == ("suppression.removed", "client:shop", "ADA@example.com")
    assert (data["reason"], set(data)) == ("unsubscribe", {"reason", "created_at"})
    with either.sessions.begin() as session, pytest.raises(NotFoundError):
        suppressions.remove(session, "ada@example.com", EVERYTHING, SHOP)
    assert len(audited(either)) == 2


def test_what_is_no_address_is_refused_with_its_place(house):
    for act in (
        lambda session: suppressions.get(session, "no address", EVERYTHING),
        lambda session: suppressions.remove(session, "a,b", EVERYTHING, SHOP),
    ):
        with house.sessions() as session, pytest.raises(InvalidInputError) as caught:
            act(session)
        assert [fault.pointer for fault in caught.value.faults] == ["/email"]


def test_two_at_the_same_time_make_one_suppression_and_one_audit_event(on_postgres):
    """F8"""
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            assert suppressions.put(session, "ada@example.com", EVERYTHING, None, SHOP)[1]
            second = pool.submit(put, on_postgres, "ada@example.com", Reason.COMPLAINT)
            with pytest.raises(StillWaitingError):
                second.result(0.5)
        assert second.result(30) is False
    assert [row[0] for row in audited(on_postgres)] == ["suppression.added", "suppression.changed"]


def test_two_changes_at_the_same_time_are_told_one_after_the_other(on_postgres):
    """F8"""
    put(on_postgres, "ada@example.com")
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            suppressions.put(session, "ada@example.com", EVERYTHING, Reason.COMPLAINT, SHOP)
            second = pool.submit(put, on_postgres, "ada@example.com", Reason.UNSUBSCRIBE)
            with pytest.raises(StillWaitingError):
                second.result(0.5)
        second.result(30)
    assert [row[3].get("before") for row in audited(on_postgres)] == [None, "manual", "complaint"]


def test_an_address_removed_meanwhile_is_suppressed_again(on_postgres):
    put(on_postgres, "ada@example.com")
    with ThreadPoolExecutor() as pool:
        with on_postgres.sessions.begin() as session:
            suppressions.remove(session, "ada@example.com", EVERYTHING, SHOP)
            second = pool.submit(put, on_postgres, "ada@example.com", Reason.COMPLAINT)
            with pytest.raises(StillWaitingError):
                second.result(0.5)
        assert second.result(30) is True
    assert on_postgres.execute(select(Suppression.reason)) == [("complaint",)]
