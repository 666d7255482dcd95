"""That neither where a write stops nor where a reply is cut changes what is known about a parcel."""

import random
import socket
from dataclasses import replace

import pytest

from email_service.delivery.smtp_transport import SmtpLimits, SmtpTransport
from email_service.delivery.transport import Outcome, Phase
from tests.wire.pipelining import ENDS, USUAL, contents, end, group, outcomes, send_all
from tests.wire.steps import Raw, Reply

ACCEPTED, LATER, REFUSED, UNCERTAIN = Outcome.ACCEPTED, Outcome.RETRY_LATER, Outcome.REFUSED, Outcome.UNCERTAIN


@pytest.fixture
def dialect() -> str:
    return "pipelining"


@pytest.mark.parametrize("fields", [{"cut_octets": cut} for cut in (1, 2, 3, 5, 17)] + [{"is_corked": True}])
def test_replies_may_come_in_any_pieces(serve, connect, parcels, fields):
    steps = {"rcpt": Reply("250-2.1.5 one\r\n250-2.1.5 two\r\n250 2.1.5 three")}
    server = serve(steps=steps, **fields)
    assert outcomes(send_all(connect(server), parcels)) == [ACCEPTED] * 5
    assert contents(server) == [parcel.content for parcel in parcels]
    assert server.session_count == 1


@pytest.mark.parametrize("options", [{}, {"use_tls": True}])
@pytest.mark.parametrize("lines", [1, 3000, 300_000])
def test_contents_of_every_size_are_overlapped(*, serve, connect, server_context, parcels, lines, options):
    server = serve(tls="starttls", context=server_context)
    transport = connect(server, limits=SmtpLimits(), **options)
    large = [replace(parcel, content=parcel.content + b".2345678\r\n" * lines) for parcel in parcels[:3]]
    assert outcomes(send_all(transport, large)) == [ACCEPTED] * 3
    assert contents(server) == [parcel.content for parcel in large]
    assert server.session_count == 1


class Narrow(socket.socket):
    """A real socket that takes few octets at a time, and after so many in all says that the line is broken."""

    octets = 1
    left = 10**9
    failure: OSError = BrokenPipeError(32, "Broken pipe")

    def send(self, data, *_) -> int:
        if self.left <= 0:
            self.close_line()
            raise self.failure
        sent = super().send(memoryview(data)[: min(self.octets, self.left)])
        self.left -= sent
        return sent

    def close_line(self) -> None:
        self.shutdown(socket.SHUT_WR)


def narrowed(transport: SmtpTransport) -> Narrow:
    """Put a narrow socket under an open connection."""
    client = transport._connection.host
    client._hold(Narrow(fileno=client.sock.detach()))
    return client.sock


@pytest.mark.parametrize("octets", [1, 7, 33])
def test_what_the_system_takes_in_pieces_arrives_whole(serve, connect, parcels, octets):
    server = serve()
    transport = connect(server)
    transport.send(parcel=parcels[0])
    narrowed(transport).octets = octets
    assert outcomes(send_all(transport, parcels[1:])) == [ACCEPTED] * 4
    assert contents(server) == [parcel.content for parcel in parcels]
    assert server.session_count == 1


@pytest.mark.parametrize("beyond", [-2, -1, 0, 1, 30, 60])
@pytest.mark.parametrize("octets", [1, 1000])
@pytest.mark.parametrize("failure", [BrokenPipeError(32, "Broken pipe"), TimeoutError(110, "Connection timed out")])
def test_a_message_is_uncertain_only_once_its_dot_was_sent(*, serve, connect, parcels, beyond, octets, failure):
    """F10: of the octets around the dot, each may be the last that the system takes"""
    server = serve()
    transport = connect(server)
    transport.send(parcel=parcels[0])
    sock = narrowed(transport)
    sock.failure, sock.octets, sock.left = failure, octets, len(group(parcels[1]) + end(parcels[1])) + beyond
    first = transport.send(parcel=parcels[1], upcoming=lambda: parcels[2])
    if beyond < 0:
        assert (first.outcome, first.phase) == (LATER, Phase.CONTENT)
    else:  # what was cut off behind the dot does not take its answer away
        assert (first.outcome, first.code) == (ACCEPTED, 250)
    assert transport.send(parcel=parcels[2]).outcome is ACCEPTED
    expected = [parcels[0], *(parcels[1:2] if beyond >= 0 else []), parcels[2]]
    assert contents(server) == [parcel.content for parcel in expected]
    assert server.session_count == 2


def test_a_peer_with_a_small_window_gets_it_all(serve, connect, parcels):
    server = serve()
    server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport = connect(server, limits=SmtpLimits())
    transport.send(parcel=parcels[0])
    transport._connection.host.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    large = [replace(parcel, content=parcel.content + b"x" * 300_000) for parcel in parcels[1:]]
    assert outcomes(send_all(transport, large)) == [ACCEPTED] * 4
    assert [len(content) for content in contents(server)[1:]] == [len(parcel.content) + 2 for parcel in large]


@pytest.mark.parametrize("seed", range(8))
def test_every_outcome_is_true_whatever_the_server_does(serve, connect, parcel, seed):
    """F9, F10, T20: accepted is there once, uncertain at most once, and nothing else is there"""
    chance = random.Random(seed)
    bad = [step for name, step in ENDS.items() if name != "silent"]
    bad += [Raw("250 ok\r\n250 ok\r\n"), Raw("354 go on\r\n354 go on\r\n"), Raw("550 no\r\n250 ok\r\n354 go on\r\n")]
    steps = {
        key: [chance.choice(bad) if chance.random() < 0.06 else usual for _ in range(400)]
        for key, usual in USUAL.items()
    }
    server = serve(steps=steps, is_corked=seed % 2 == 0, cut_octets=seed % 4 and 5)
    many = [replace(parcel, content=b"X-Number: %d\r\n\r\nbody\r\n" % number) for number in range(120)]
    reports = send_all(connect(server, limits=SmtpLimits(connection_max_messages=15)), many)
    taken = contents(server)
    for sent, report in zip(many, reports, strict=True):
        expected = {ACCEPTED: {1}, UNCERTAIN: {0, 1}}.get(report.outcome, {0})
        assert taken.count(sent.content) in expected, report
    assert set(taken) <= {sent.content for sent in many}
    assert {ACCEPTED, LATER, REFUSED} <= set(outcomes(reports))
