"""Which way a message takes and how soon: routes that are down, one probe at a time, rates of routes and domains."""

from collections import Counter

import pytest
from sqlalchemy import select, update

from email_service.delivery import breaker
from email_service.delivery.models import RouteBreaker
from email_service.delivery.transport import Outcome, Phase, Report
from email_service.engine import create_dispatcher
from email_service.kernel import clock
from email_service.kernel.orm import database_now
from email_service.messages.models import Message
from tests.applications import PASSWORD_RESET
from tests.journeys.processes import wait_until
from tests.scripted_transport import ACCEPTED, DOWN, Scripted


@pytest.fixture
def statuses(house):
    return lambda: sorted(row[0] for row in house.execute("SELECT status FROM messages"))


@pytest.fixture(autouse=True)
def _a_route_that_is_down_stays_so(monkeypatch) -> None:
    """For longer than any test takes: a hundred times the usual pauses."""
    monkeypatch.setattr(breaker, "PAUSE_SECONDS", [100 * seconds for seconds in breaker.PAUSE_SECONDS])


@pytest.fixture
def add_routes(reopen):
    """Two routes on a house; nothing is connected, for the test brings the transports."""

    def build(**variables):
        names = {"MAIL_ROUTES": "first,second", "MAIL_DEFAULT_SENDER": "shop@example.com"}
        servers = {f"MAIL_ROUTE_{name}_SERVER": "127.0.0.1" for name in ("FIRST", "SECOND")}
        return reopen(**names, **servers, **variables)

    return build


def deliver_by(house, transports, lanes=("transactional",)):
    """Drain with one connection for each route; the transports by route."""
    dispatcher = create_dispatcher(house.app, connections=1, make_transport=lambda route: transports[route.name])
    dispatcher.start()
    try:
        for lane in lanes:
            while dispatcher.drain(lane):
                dispatcher.settle()
    finally:
        assert dispatcher.stop(30)


def test_a_message_takes_the_other_route_when_the_first_is_down(add_routes, client_id):
    """F9: the first route certainly did not take it."""
    house = add_routes(MAIL_ROUTE_SECOND_WEIGHT="0")
    message_id = house.accept(client_id)
    transports = {"first": Scripted([DOWN]), "second": Scripted([ACCEPTED])}
    deliver_by(house, transports)
    message = house.message(message_id)
    assert (message.status, message.attempt_count) == ("sent", 1)
    assert [(attempt.transport, attempt.outcome) for attempt in message.attempts] == [
        ("first", "retry_later"),
        ("second", "accepted"),
    ]
    assert [row[0] for row in house.execute(select(RouteBreaker.route))] == ["first"]


@pytest.mark.parametrize(
    "report",
    [
        Report(outcome=Outcome.UNCERTAIN, phase=Phase.FINAL),
        Report(outcome=Outcome.RETRY_LATER, phase=Phase.RCPT, code=451),
    ],
)
def test_nothing_fails_over_that_the_first_route_may_have_taken_or_deferred(add_routes, client_id, report):
    """F10"""
    house = add_routes(MAIL_ROUTE_SECOND_WEIGHT="0")
    message_id = house.accept(client_id)
    transports = {"first": Scripted([report]), "second": Scripted([ACCEPTED])}
    deliver_by(house, transports)
    assert house.message(message_id).status in {"uncertain", "deferred"}
    assert transports["second"].parcels == []


def test_one_probe_finds_out_that_a_route_is_up_again(house, client_id, statuses):
    """F9: while the breaker is half open, one message goes and the others wait."""
    for _ in range(3):
        house.accept(client_id)
    house.deliver(Scripted([DOWN]))
    assert statuses() == ["deferred", "queued", "queued"]
    house.execute(update(RouteBreaker).values(open_until=database_now()))
    house.execute(update(Message).values(due_at=database_now()))
    still_down = Scripted([DOWN])
    house.deliver(still_down)
    assert len(still_down.parcels) == 1
    assert house.execute(select(RouteBreaker.failure_count)) == [(2,)]
    [due_in] = house.execute(select(Message.due_at).where(Message.status == "deferred"))
    assert 300 < (due_in[0] - clock.now()).total_seconds() < 500
    house.execute(update(RouteBreaker).values(open_until=database_now()))
    house.execute(update(Message).values(due_at=database_now(), held_by=None))
    house.deliver(Scripted([ACCEPTED]))
    assert house.execute(select(RouteBreaker.route)) == []
    house.execute(update(Message).where(Message.due_at.is_not(None)).values(due_at=database_now()))
    house.deliver(Scripted([ACCEPTED]))
    assert statuses() == ["sent"] * 3


def test_a_breaker_is_shared_by_all_workers(house, client_id, reopen):
    """F9: what one process found out keeps the other from knocking."""
    house.accept(client_id)
    house.deliver(Scripted([DOWN]))
    house.accept(client_id)
    other = Scripted([ACCEPTED])
    with reopen().delivering(other) as dispatcher:
        dispatcher.drain("transactional")
        dispatcher.settle()
    assert other.parcels == []


def test_a_route_is_used_no_faster_than_its_rate(reopen, client_id):
    """Issue 3: a provider's limit is kept without errors."""
    house = reopen(MAIL_SERVER="127.0.0.1", MAIL_DEFAULT_SENDER="a@example.com", MAIL_MAX_RATE="20/second")
    for _ in range(30):
        house.accept(client_id)
    times = []

    class Timed(Scripted):
        def send(self, **given) -> Report:
            times.append(clock.monotonic_seconds())
            return super().send(**given)

    begun_at = clock.monotonic_seconds()
    with house.delivering(Timed([ACCEPTED]), connections=4) as dispatcher:

        def deliver() -> bool:
            dispatcher.drain("transactional")
            dispatcher.settle()
            return len(times) == 30

        wait_until(deliver)
    # Each as late as its place says, or later; what a busy machine holds up comes in a crowd.
    assert all(each - begun_at > number / 20 - 0.1 for number, each in enumerate(times))


def test_a_domain_with_a_rate_waits_and_the_others_do_not(reopen, client_id):
    """F6: other domains unaffected."""
    house = reopen(MAIL_DOMAIN_RATES="slow.example=2/minute")
    for number in range(10):
        house.accept(client_id, to={"email": f"a{number}@slow.example", "name": ""})
        house.accept(client_id, to={"email": f"a{number}@quick.example", "name": ""})
    transport = Scripted([ACCEPTED])
    with house.delivering(transport) as dispatcher:
        dispatcher.drain("transactional")
        dispatcher.settle()
    domains = Counter(parcel.recipient.partition("@")[2] for parcel in transport.parcels)
    assert domains["quick.example"] == 10
    assert 1 <= domains["slow.example"] <= 3
    held = house.execute(select(Message.held_by, Message.due_at).where(Message.status == "queued"))
    assert {row.held_by for row in held} == {"domain_rate"}
    assert len({row.due_at for row in held}) == len(held)


def test_token_mail_does_not_wait_for_a_rate(reopen, client_id):
    """Guarantee 4"""
    house = reopen(MAIL_SERVER="127.0.0.1", MAIL_DEFAULT_SENDER="a@example.com", MAIL_MAX_RATE="60/minute")
    for _ in range(5):
        house.accept(client_id, lane="bulk")
    transport = Scripted([ACCEPTED])
    with house.delivering(transport) as dispatcher:
        dispatcher.drain("bulk")
        tokens = {house.accept(client_id, **PASSWORD_RESET) for _ in range(2)}
        dispatcher.drain("token")
        dispatcher.settle()
    assert {house.message(each).status for each in tokens} == {"sent"}
    assert len(transport.parcels) <= 4
