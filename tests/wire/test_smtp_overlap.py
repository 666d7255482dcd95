"""The next parcel's group behind the content of this one (RFC 2920 3.1): when it is sent, and whose answer is whose."""

from dataclasses import replace
from time import monotonic

import pytest

from email_service.delivery.smtp_transport import SmtpLimits
from email_service.delivery.transport import Outcome, Phase
from email_service.kernel import clock
from email_service.kernel.errors import InvalidInputError
from tests.wire.conftest import LIMITS
from tests.wire.pipelining import GO, OK, USUAL, contents, end, group, outcomes, send_all, wait_for
from tests.wire.server import Script, SmtpServer
from tests.wire.steps import Drop, Late, Raw, Reply, ReplyThenDrop, Stall

ACCEPTED, LATER, REFUSED, UNCERTAIN = Outcome.ACCEPTED, Outcome.RETRY_LATER, Outcome.REFUSED, Outcome.UNCERTAIN


@pytest.fixture
def dialect() -> str:
    return "pipelining"


def test_the_next_message_begins_behind_the_content_of_this_one(serve, connect, parcels):
    """One round trip a message (RFC 2920 3.1)."""
    server = serve()
    assert outcomes(send_all(connect(server), parcels[:3])) == [ACCEPTED] * 3
    one, two, three = parcels[:3]
    expected = [group(one), end(one) + group(two), end(two) + group(three), end(three)]
    assert server.conversations[0].segments[1:] == expected
    assert contents(server) == [parcel.content for parcel in parcels[:3]]


def test_what_comes_next_is_asked_once_for_each_content(serve, connect, parcels):
    asked = []
    server = serve(steps={"rcpt": [OK, Reply("550 5.1.1 no"), OK]})
    transport = connect(server)
    for parcel in parcels[:3]:
        transport.send(parcel=parcel, upcoming=lambda number=parcel.message_id: asked.append(number))
    assert asked == ["0", "2"]


@pytest.mark.parametrize("step", [Drop(), Drop(is_abrupt=True), Stall(), Raw("abc\r\n"), Raw("334 Zm9v\r\n")])
def test_what_was_begun_behind_a_lost_content_begins_anew(serve, connect, parcels, step):
    """F10: the one is uncertain; of the other only the envelope was said, and it costs no attempt"""
    server = serve(steps={"final": [step, OK]})
    reports = send_all(connect(server), parcels[:2])
    assert outcomes(reports) == [UNCERTAIN, ACCEPTED]
    assert reports[0].phase is Phase.FINAL
    assert contents(server) == [parcels[1].content]
    assert server.session_count == 2


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("554 5.6.0 spam", REFUSED),
        ("451 4.3.0 later", LATER),
        ("535 5.7.8 no", REFUSED),
        ("452-4.3.1 a\r\n452 b", LATER),
    ],
)
def test_a_refused_content_leaves_what_was_begun_behind_it(*, serve, connect, parcels, text, outcome):
    """F9"""
    server = serve(steps={"final": [OK, Reply(text), OK]})
    reports = send_all(connect(server), parcels[:3])
    assert outcomes(reports) == [ACCEPTED, outcome, ACCEPTED]
    assert (reports[1].code, reports[1].is_transport_fault) == (int(text[:3]), False)
    assert contents(server) == [parcels[0].content, parcels[2].content]
    assert server.session_count == 1
    assert sum(command.startswith("MAIL") for command in server.commands) == 3


@pytest.mark.parametrize("step", [Reply("421 4.7.0 enough"), ReplyThenDrop("421 4.7.0 enough")])
def test_a_server_that_leaves_at_the_dot_refused_the_content(serve, connect, parcels, step):
    """F6"""
    server = serve(steps={"final": [step, OK]})
    reports = send_all(connect(server), parcels[:2])
    assert outcomes(reports) == [LATER, ACCEPTED]
    assert (reports[0].phase, reports[0].code) == (Phase.FINAL, 421)
    assert (server.session_count, len(server.received)) == (2, 2)


@pytest.mark.parametrize("step", [Drop(), Drop(is_abrupt=True), Reply("421 4.7.0 enough"), ReplyThenDrop("421 enough")])
def test_a_connection_that_ends_before_what_was_begun_is_answered(serve, connect, parcels, step):
    """F10: it is begun again over a new connection, once"""
    server = serve(steps={"mail": [OK, step, OK]}, is_corked=True)
    assert outcomes(send_all(connect(server), parcels[:2])) == [ACCEPTED] * 2
    assert contents(server) == [parcel.content for parcel in parcels[:2]]
    assert server.session_count == 2


def test_answers_ahead_of_their_commands_deliver_nothing(serve, connect, parcels):
    """F10, T20: the injected answers seem to belong to what was begun; the real ones refuse it"""
    steps = {
        "final": [Raw("250 2.0.0 queued\r\n250 ok\r\n250 ok\r\n354 go on\r\n"), Drop()],
        "rcpt": [OK, Reply("550 5.1.1 no such user")],
        "data": [GO, Reply("554 5.5.1 no")],
    }
    server = serve(steps=steps, is_corked=True)
    reports = send_all(connect(server), parcels[:2])
    assert outcomes(reports) == [ACCEPTED, LATER]
    assert len(server.received) == 1


@pytest.mark.parametrize("key", ["mail", "rcpt", "data"])
def test_an_answer_too_many_ends_the_connection(serve, connect, parcels, key):
    """F10, T20: from there on no answer would belong to its command"""
    more = {"mail": "250 ok", "rcpt": "250 ok", "data": "354 go on"}[key]
    server = serve(steps={key: [USUAL[key], Raw(f"{more}\r\n250 2.0.0 queued\r\n"), USUAL[key]]}, is_corked=True)
    reports = send_all(connect(server), parcels[:3])
    assert outcomes(reports) == [ACCEPTED, LATER, ACCEPTED]
    assert contents(server) == [parcels[0].content, parcels[2].content]
    assert (server.session_count, len(server.received)) == (2, 2)


@pytest.mark.parametrize(
    "changes",
    [{"content": b"a: b\r\n\r\nx\n.\nMAIL"}, {"recipient": "a@b.c>\r\nRCPT TO:<d@e.f"}, {"sender": "a b@c.d"}],
)
def test_an_unfit_parcel_is_not_begun(serve, connect, parcels, changes):
    """T19, T20"""
    server = serve()
    transport = connect(server)
    unfit = replace(parcels[1], **changes)
    assert transport.send(parcel=parcels[0], upcoming=lambda: unfit).outcome is ACCEPTED
    with pytest.raises(InvalidInputError):
        transport.send(parcel=unfit)
    assert transport.send(parcel=parcels[2]).outcome is ACCEPTED
    assert server.conversations[0].segments[1:] == [
        group(parcels[0]),
        end(parcels[0]),
        group(parcels[2]),
        end(parcels[2]),
    ]


def test_a_parcel_with_copies_begins_by_itself(serve, connect, parcels):
    server = serve()
    with_copies = replace(parcels[1], others=("bob@example.org",))
    assert outcomes(send_all(connect(server), [parcels[0], with_copies, parcels[2]])) == [ACCEPTED] * 3
    commands, data, ended = server.conversations[0].segments[3:6]
    assert commands.startswith(b"MAIL")
    assert commands.endswith(b"RCPT TO:<bob@example.org>\r\n")
    assert (data, ended) == (b"DATA\r\n", end(with_copies) + group(parcels[2]))


def test_smtputf8_is_asked_for_behind_a_content_too(serve, connect, parcels):
    server = serve()
    two = replace(parcels[1], recipient="jörg@example.org")
    assert outcomes(send_all(connect(server), [parcels[0], two])) == [ACCEPTED] * 2
    behind = f"SIZE={len(two.content)} BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<jörg@example.org>\r\nDATA\r\n".encode()
    assert server.conversations[0].segments[2].endswith(behind)


def test_a_parcel_that_the_server_cannot_take_is_not_begun(connect, parcels):
    with SmtpServer(Script(extensions=("PIPELINING",))) as server:
        two = replace(parcels[1], recipient="jörg@example.org")
        reports = send_all(connect(server), [parcels[0], two, parcels[2]])
        assert outcomes(reports) == [ACCEPTED, REFUSED, ACCEPTED]
        assert reports[1].enhanced_code == "5.6.7"
        assert server.session_count == 1


def test_nothing_is_begun_where_the_connection_will_end(serve, connect, parcels):
    server = serve()
    asked = []
    transport = connect(server, limits=SmtpLimits(connection_max_messages=2))
    for parcel, follower in zip(parcels, [*parcels[1:], None], strict=True):
        assert transport.send(parcel=parcel, upcoming=lambda f=follower: asked.append(f) or f).outcome is ACCEPTED
    assert asked == [parcels[1], parcels[3], None]
    wait_for(lambda: all(each.commands[-1] == "QUIT" for each in server.conversations[:2]))
    assert [len(conversation.segments) for conversation in server.conversations] == [5, 5, 3]
    assert contents(server) == [parcel.content for parcel in parcels]


def test_nothing_is_begun_on_a_connection_that_is_old(serve, connect, parcels):
    server = serve()
    assert (
        outcomes(send_all(connect(server, limits=SmtpLimits(connection_max_age_seconds=0)), parcels[:3]))
        == [ACCEPTED] * 3
    )
    assert server.session_count == 3


@pytest.mark.parametrize("answer", [OK, Late(OK.text)], ids=["answered", "not yet answered"])
def test_a_begun_parcel_that_never_comes_is_not_delivered(serve, connect, parcels, answer):
    """Not a word after DATA, which would be content."""
    server = serve(steps={"mail": [OK, answer, OK]})
    transport = connect(server)
    transport.send(parcel=parcels[0], upcoming=lambda: parcels[1])
    transport.close()
    transport.close()
    wait_for(lambda: not any(thread.is_alive() for thread in server._threads[1:]))
    assert server.conversations[0].segments[-1] == end(parcels[0]) + group(parcels[1])
    assert len(server.received) == 1
    assert transport.send(parcel=parcels[1]).outcome is ACCEPTED
    assert contents(server) == [parcel.content for parcel in parcels[:2]]


@pytest.mark.parametrize("answer", [OK, Late(OK.text)], ids=["answered", "not yet answered"])
def test_another_parcel_than_the_begun_one_goes_over_a_new_connection(serve, connect, parcels, answer):
    server = serve(steps={"mail": [OK, answer, OK]})
    transport = connect(server)
    transport.send(parcel=parcels[0], upcoming=lambda: parcels[1])
    with pytest.raises(InvalidInputError):
        transport.send(parcel=replace(parcels[2], content=b"\n"))
    assert outcomes(transport.send(parcel=parcel) for parcel in (parcels[2], parcels[1])) == [ACCEPTED] * 2
    assert contents(server) == [parcels[0].content, parcels[2].content, parcels[1].content]
    assert [message.rcpt_to for message in server.messages] == [["ada@example.org"]] * 3
    assert server.conversations[0].segments[-1] == end(parcels[0]) + group(parcels[1])
    assert server.session_count == 2


def test_a_sender_that_fails_to_say_what_comes_next_sends_nothing(serve, connect, parcels):
    server = serve()
    transport = connect(server)

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        transport.send(parcel=parcels[0], upcoming=fail)
    assert transport.send(parcel=parcels[1]).outcome is ACCEPTED
    assert (len(server.received), server.session_count) == (1, 2)
    assert server.conversations[0].segments[1:] == [group(parcels[0])]


def test_the_time_of_an_attempt_begins_with_its_own_hand_over(*, serve, connect, parcels, silence, monkeypatch):
    """F10"""
    transport = connect(serve(steps={"rcpt": [OK, OK, Stall()]}))
    passed = 0.0
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: monotonic() + passed)
    assert transport.send(parcel=parcels[0], upcoming=lambda: parcels[1]).outcome is ACCEPTED
    passed = LIMITS.attempt_max_seconds + 1
    assert transport.send(parcel=parcels[1], upcoming=lambda: parcels[2]).outcome is ACCEPTED
    passed *= 2
    report = transport.send(parcel=parcels[2])
    assert (report.outcome, report.phase) == (LATER, Phase.RCPT)
    [milliseconds] = silence.waits
    assert 0.5 < milliseconds / 1000 / LIMITS.timeout_seconds <= 1
