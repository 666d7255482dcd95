"""Commands in groups (RFC 2920): what goes out in one write, and that no report depends on whether it did."""

from dataclasses import replace

import pytest

from email_service.delivery.transport import Outcome, Phase
from tests.wire.pipelining import ENDS, GO, OK, USUAL, contents, end, group, outcomes, send_all
from tests.wire.server import Script, SmtpServer
from tests.wire.steps import Reply

ACCEPTED, LATER, REFUSED, UNCERTAIN = Outcome.ACCEPTED, Outcome.RETRY_LATER, Outcome.REFUSED, Outcome.UNCERTAIN


@pytest.fixture
def dialect() -> str:
    return "pipelining"


def test_a_message_takes_two_round_trips(serve, connect, parcels):
    server = serve()
    transport = connect(server)
    assert outcomes(transport.send(parcel=parcel) for parcel in parcels[:2]) == [ACCEPTED] * 2
    one, two = parcels[:2]
    assert server.conversations[0].segments[1:] == [group(one), end(one), group(two), end(two)]


def test_a_server_without_the_extension_gets_one_command_at_a_time(connect, parcels):
    with SmtpServer() as server:
        assert outcomes(send_all(connect(server), parcels[:2])) == [ACCEPTED] * 2
        lines = [segment.count(b"\r\n") for segment in server.conversations[0].segments if b"X-Number" not in segment]
        assert lines == [1] * 7


@pytest.mark.parametrize("way", ["grouped", "overlapped", "corked"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("key", USUAL)
def test_a_report_does_not_depend_on_the_dialect(*, serve, connect, parcels, key, end, way):
    """F6, F9, F10: 421 and a drop at each place of a group among them"""
    three = [replace(parcel, recipient=f"{parcel.message_id}@example.org") for parcel in parcels[:3]]
    steps = {key: [USUAL[key], ENDS[end], USUAL[key]]}
    with SmtpServer(Script(steps=steps)) as plain:
        transport = connect(plain)
        expected = [transport.send(parcel=parcel) for parcel in three]
    server = serve(steps=steps, is_corked=way == "corked")
    transport = connect(server)
    reports = [transport.send(parcel=parcel) for parcel in three] if way == "grouped" else send_all(transport, three)
    assert reports == expected
    assert contents(server) == contents(plain)
    assert len(server.received) == len(plain.received)


@pytest.mark.parametrize(
    "key", ["rcpt:ada@example.org", "rcpt:bob@example.org", "rcpt:eve@example.org", "data", "final"]
)
@pytest.mark.parametrize("end", [end for end in ENDS if end != "silent"])
def test_a_report_of_a_message_with_copies_does_not_depend_on_the_dialect(*, serve, connect, parcel_to, key, end):
    """F9"""
    parcel = parcel_to(others=("bob@example.org", "eve@example.org", "jörg@example.org"))
    steps = {key: [ENDS[end], USUAL[key.split(":")[0]]]}
    extensions = ("SIZE", "PIPELINING")
    reports = []
    for offered in (extensions, extensions[:1]):
        with SmtpServer(Script(steps=steps, extensions=offered)) as server:
            transport = connect(server)
            sent = [transport.send(parcel=parcel), transport.send(parcel=parcel)]
            reports.append((sent, [message.rcpt_to for message in server.messages], len(server.received)))
    assert reports[0] == reports[1]


def test_with_copies_data_waits_for_the_recipient(serve, connect, parcel_to):
    """F9, T15: a refused recipient never leads to a content for the copies alone"""
    server = serve(steps={"rcpt:ada@example.org": [Reply("550 5.1.1 no such user"), OK]})
    transport = connect(server)
    parcel = parcel_to(others=("bob@example.org",))
    assert transport.send(parcel=parcel).outcome is REFUSED
    assert server.commands[-1] == "RSET"
    assert "DATA" not in server.commands
    assert transport.send(parcel=parcel).outcome is ACCEPTED
    first, reset, again, data = server.conversations[0].segments[1:5]
    assert (first.count(b"\r\n"), reset, again, data) == (3, b"RSET\r\n", first, b"DATA\r\n")
    assert server.session_count == 1


@pytest.mark.parametrize("is_overlapped", [False, True])
@pytest.mark.parametrize("refused", ["mail", "rcpt"])
def test_a_content_that_is_asked_for_after_a_refusal_is_never_sent(*, serve, connect, parcels, refused, is_overlapped):
    """F9, T20: not even a lone dot, which could deliver an empty message"""
    server = serve(steps={refused: [OK, Reply("550 5.1.1 no"), OK], "data": GO})
    transport = connect(server)
    reports = send_all(transport, parcels[:3]) if is_overlapped else [transport.send(parcel=p) for p in parcels[:3]]
    assert outcomes(reports) == [ACCEPTED, REFUSED, ACCEPTED]
    assert (reports[1].phase, reports[1].code) == (Phase(refused), 550)
    assert contents(server) == [parcels[0].content, parcels[2].content]
    assert len(server.received) == 2
    assert server.session_count == 2
    assert server.conversations[0].segments[-1].endswith(b"DATA\r\n")


def test_answers_that_lie_ready_before_a_command_are_refused(serve, connect, parcels):
    """F10, T20: on a connection that waited and on one that was just made"""
    early = "\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 2.0.0 queued"
    server = serve(
        steps={
            "final": [Reply(f"250 2.0.0 queued{early}"), OK],
            "ehlo": [Reply("250 PIPELINING"), Reply(f"250 x{early}")],
        }
    )
    transport = connect(server)
    assert transport.send(parcel=parcels[0]).outcome is ACCEPTED
    report = transport.send(parcel=parcels[1])
    assert (report.outcome, report.phase, report.reply[:32]) == (LATER, Phase.MAIL, "The server spoke out of turn: 25")
    assert contents(server) == [parcels[0].content]
    assert server.session_count == 2
