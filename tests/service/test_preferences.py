"""What readers want, category by category: kept once, taken back, audited, and never more than they asked for."""

import pytest
from sqlalchemy import select

from email_service.audit.models import AuditEvent
from email_service.audit.service import Actor
from email_service.kernel.categories import EVERYTHING, OPTIONAL
from email_service.suppressions import preferences
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason, Suppression
from tests.races import together
from tests.strangers import ADA

READER = Actor(name="recipient", ip="192.0.2.7", request_id="r-1")
KINDS = ("digest", "news", "tips")


def unsubscribe(house, category: str, email: str = ADA) -> None:
    with house.sessions.begin() as session:
        preferences.unsubscribe(session, email, category, READER)


def choose(house, **wanted: bool) -> None:
    with house.sessions.begin() as session:
        preferences.choose(session, ADA, KINDS, wanted, READER)


def received(house, email: str = ADA) -> set[str]:
    with house.sessions() as session:
        found = preferences.read(session, email, KINDS).received
    return {category for category, is_received in found.items() if is_received}


def rows(house) -> list[tuple[str, str]]:
    columns = (Suppression.category, Suppression.reason)
    return [tuple(row) for row in house.execute(select(*columns).order_by(Suppression.category))]


def audited(house) -> list[tuple]:
    columns = (AuditEvent.name, AuditEvent.actor, AuditEvent.subject, AuditEvent.data)
    return [tuple(row) for row in house.execute(select(*columns).order_by(AuditEvent.id))]


def test_unsubscribing_twice_is_unsubscribing_once(either):
    """T33"""
    for _ in range(2):
        unsubscribe(either, "news")
    assert rows(either) == [("news", "unsubscribe")]
    added = {"reason": "unsubscribe", "category": "news"}
    assert audited(either) == [("suppression.added", "recipient", ADA, added)]
    assert received(either) == {"digest", "tips"}
    assert received(either, "eve@example.com") == set(KINDS)
    assert received(either, "ADA@example.com") == {"digest", "tips"}


def test_everything_optional_is_more_than_the_categories_of_today(either):
    unsubscribe(either, OPTIONAL)
    assert received(either) == set()
    with either.sessions() as session:
        assert preferences.read(session, ADA, ["not yet written"]).received == {"not yet written": False}
        assert not preferences.read(session, ADA, KINDS).is_blocked
    choose(either, news=True)
    assert received(either) == {"news"}
    assert rows(either) == [("digest", "unsubscribe"), ("tips", "unsubscribe")]


def test_what_is_not_named_stays_as_it_is(either):
    unsubscribe(either, "tips")
    choose(either, news=False)
    assert received(either) == {"digest"}
    choose(either, news=True)
    assert received(either) == {"digest", "news"}
    choose(either, invented=False)
    assert rows(either) == [("tips", "unsubscribe")]
    assert [name for name, *_ in audited(either)] == ["suppression.added"] * 2 + ["suppression.removed"]
    assert audited(either)[-1][1] == "recipient"
    assert audited(either)[-1][3]["category"] == "news"


def test_choosing_what_is_so_already_writes_nothing(either):
    choose(either, digest=True, news=True, tips=True)
    assert (rows(either), audited(either)) == ([], [])
    unsubscribe(either, OPTIONAL)
    choose(either, digest=False, news=False, tips=False)
    assert rows(either) == [(OPTIONAL, "unsubscribe")]


def test_a_reader_does_not_lift_what_is_said_of_the_whole_address(either):
    with either.sessions.begin() as session:
        suppressions.suppress(session, ADA, Reason.HARD_BOUNCE)
    unsubscribe(either, "news")
    choose(either, digest=True, news=True, tips=True)
    assert rows(either) == [(EVERYTHING, "hard_bounce")]
    with either.sessions() as session:
        found = preferences.read(session, ADA, KINDS)
    assert (found.is_blocked, set(found.received.values())) == (True, {True})


def test_a_bounce_stands_beside_what_a_reader_said(either):
    unsubscribe(either, "news")
    with either.sessions.begin() as session:
        suppressions.suppress(session, ADA, Reason.HARD_BOUNCE)
    assert rows(either) == [(EVERYTHING, "hard_bounce"), ("news", "unsubscribe")]
    with either.sessions() as session:
        found = suppressions.look_up(session, [ADA])
    assert [found.find_reason(ADA, category) for category in (None, "news")] == ["hard_bounce"] * 2


@pytest.mark.parametrize("category", ["news", OPTIONAL])
def test_two_clicks_at_once_are_one(on_postgres, category):
    """F8"""
    together([lambda: unsubscribe(on_postgres, category)] * 8)
    assert rows(on_postgres) == [(category, "unsubscribe")]
    assert len(audited(on_postgres)) == 1
