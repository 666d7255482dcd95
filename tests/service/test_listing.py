"""Pages of messages and events: each filter, both databases, and cursors that neither skip nor repeat."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError
from email_service.kernel.orm import new_id
from email_service.messages import listing, state
from email_service.messages.listing import MessageFilter
from email_service.messages.models import Message

HOUR = timedelta(hours=1)


def mailbox(email: str) -> dict[str, str]:
    return {"email": email, "name": ""}


def found(house, client_id, limit: int = 50, **wanted) -> list:
    with house.sessions() as session:
        page = listing.find_messages(session, client_id, MessageFilter(limit=limit, **wanted))
        return [message.id for message in page.data]


@pytest.fixture
def client_of(either, add_client):
    return add_client(either)


def test_the_newest_message_is_the_first(either, client_of):
    ids = [either.accept(client_of) for _ in range(3)]
    assert found(either, client_of) == ids[::-1]


@pytest.mark.parametrize(
    "wanted",
    [{}, {"tag": "a"}, {"status": "queued"}, {"tag": "a", "status": "queued"}, {"client_reference": "1"}],
    ids=lambda wanted: "+".join(wanted) or "all",
)
def test_nobody_sees_anothers_messages(either, client_of, add_client, wanted):
    either.accept(add_client(either, "stranger"), tags=("a",), client_reference="1")
    ours = either.accept(client_of, tags=("a",), client_reference="1")
    assert found(either, client_of, **wanted) == [ours]


@pytest.mark.parametrize("wanted", [{"tag": "a"}, {"tag": "a", "status": "queued"}], ids="+".join)
def test_pages_by_tag_neither_skip_nor_repeat(either, client_of, wanted):
    ids = [either.accept(client_of, tags=("a", "b") if number % 2 else ("b",)) for number in range(8)][::-1]
    seen, cursor = [], None
    for _ in range(2):
        with either.sessions() as session:
            page = listing.find_messages(session, client_of, MessageFilter(limit=2, cursor=cursor, **wanted))
        seen += [message.id for message in page.data]
        cursor = page.next_cursor
    assert (seen, cursor) == (ids[::2], None)


def test_a_tag_that_is_given_twice_finds_its_message_once(either, client_of):
    message_id = either.accept(client_of, tags=("a", "a"))
    assert found(either, client_of, tag="a") == [message_id]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"to": mailbox("eve@example.com")}, {"recipient": "eve@example.com"}),
        ({"to": mailbox("eve@xn--fa-hia.de")}, {"recipient": "eve@faß.de"}),
        (
            {"template": "email-verification", "variables": {"action_url": "https://a.test/"}},
            {"template": "email-verification"},
        ),
        ({"client_reference": "order-42"}, {"client_reference": "order-42"}),
        ({"tags": ("signup", "x")}, {"tag": "signup"}),
        ({"tags": ('quote"s', "ü%_")}, {"tag": "ü%_"}),
        ({"tags": ('quote"s',)}, {"tag": 'quote"s'}),
        ({"send_at": clock.now() + 24 * HOUR}, {"status": "scheduled"}),
    ],
)
def test_a_filter_finds_what_it_names_and_nothing_else(either, client_of, fields, wanted):
    either.accept(client_of, tags=("sign",), client_reference="order-4")
    wanted_id = either.accept(client_of, **fields)
    either.accept(client_of)
    assert found(either, client_of, **wanted) == [wanted_id]


def test_all_filters_hold_at_once(either, client_of):
    both = either.accept(client_of, tags=("a",), client_reference="1")
    either.accept(client_of, tags=("a",), client_reference="2")
    either.accept(client_of, tags=("b",), client_reference="1")
    assert found(either, client_of, tag="a", client_reference="1") == [both]


def test_a_span_of_time_leaves_out_its_ends(either, client_of):
    ids = [either.accept(client_of) for _ in range(3)]
    times = [either.message(each).created_at for each in ids]
    assert found(either, client_of, created_after=times[0]) == [ids[2], ids[1]]
    assert found(either, client_of, created_before=times[2]) == [ids[1], ids[0]]
    assert found(either, client_of, created_after=times[0], created_before=times[2]) == [ids[1]]
    assert found(either, client_of, created_after=times[2]) == []


def test_a_message_whose_id_is_older_than_its_time_is_found_by_its_time(either, client_of):
    """Between the making of an id and of `created_at` a process may have slept; a poller must not miss that message."""
    message_id = either.accept(client_of)
    later = either.message(message_id).created_at + timedelta(milliseconds=1500)
    either.execute(update(Message).values(created_at=later))
    assert found(either, client_of, created_after=later - timedelta(milliseconds=100)) == [message_id]


def test_the_farthest_times_are_no_error(either, client_of):
    either.accept(client_of)
    assert len(found(either, client_of, created_after=clock.now().replace(year=1))) == 1
    assert len(found(either, client_of, created_before=clock.now().replace(year=9999))) == 1


def test_pages_neither_skip_nor_repeat_while_messages_come_in(either, client_of):
    ids = [either.accept(client_of) for _ in range(7)]
    seen, cursor = [], None
    while True:
        with either.sessions() as session:
            page = listing.find_messages(session, client_of, MessageFilter(limit=3, cursor=cursor))
            seen += [message.id for message in page.data]
        either.accept(client_of)
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == ids[::-1]


def test_the_last_page_has_no_cursor_even_when_it_is_full(either, client_of):
    for _ in range(3):
        either.accept(client_of)
    with either.sessions() as session:
        assert listing.find_messages(session, client_of, MessageFilter(limit=3)).next_cursor is None
        assert listing.find_messages(session, client_of, MessageFilter(limit=2)).next_cursor is not None


@pytest.mark.parametrize("cursor", ["", "x", "A" * 22 + "A", "é", "../..", "A" * 5000, "%00", str(new_id())])
def test_what_is_no_cursor_is_refused_and_named(house, client_id, cursor):
    with pytest.raises(InvalidInputError) as caught:
        found(house, client_id, cursor=cursor)
    assert [fault.pointer for fault in caught.value.faults] == ["/cursor"]


def test_a_recipient_that_is_no_address_is_refused_and_named(house, client_id):
    with pytest.raises(InvalidInputError) as caught:
        found(house, client_id, recipient="a@b@c")
    assert [fault.pointer for fault in caught.value.faults] == ["/recipient"]


def test_events_come_oldest_first_in_pages(either, client_of):
    message_id = either.accept(client_of)
    with either.sessions.begin() as session:
        message = session.get(Message, message_id)
        for number in range(4):
            state.record(message, f"message.noted{number}", number=number)
    names, cursor = [], None
    while True:
        with either.sessions() as session:
            page = listing.find_events(session, session.get(Message, message_id), 2, cursor)
            names.append([event.name for event in page.data])
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert names == [
        ["message.accepted", "message.noted0"],
        ["message.noted1", "message.noted2"],
        ["message.noted3"],
    ]
