"""How long one connection serves, and that its quiet death between two parcels costs nothing."""

import threading
from dataclasses import replace
from time import monotonic

import pytest

from email_service.delivery.smtp_transport import SmtpLimits
from email_service.delivery.transport import Outcome, Phase
from email_service.kernel import clock
from tests.wire.pipelining import wait_for
from tests.wire.steps import Drop, Reply, ReplyThenDrop, Stall


def test_one_connection_carries_parcel_after_parcel(serve, connect, server_context, parcel):
    server = serve(tls="starttls", context=server_context)
    transport = connect(server, use_tls=True)
    assert [transport.send(parcel=parcel).outcome for _ in range(5)] == [Outcome.ACCEPTED] * 5
    assert (server.session_count, len(server.messages)) == (1, 5)


def test_after_so_many_messages_a_new_connection_is_made(serve, connect, parcel):
    server = serve()
    transport = connect(server, limits=SmtpLimits(connection_max_messages=2))
    for _ in range(5):
        assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.session_count == 3
    wait_for(lambda: all(each.commands[-1] == "QUIT" for each in server.conversations[:2]))
    assert [conversation.commands[-1] for conversation in server.conversations] == ["QUIT", "QUIT", "DATA"]


def test_an_old_connection_is_replaced(serve, connect, parcel, monkeypatch):
    server = serve()
    transport = connect(server, limits=SmtpLimits(connection_max_age_seconds=60))
    transport.send(parcel=parcel)
    transport.send(parcel=parcel)
    assert server.session_count == 1
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: monotonic() + 60)
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.session_count == 2


@pytest.mark.parametrize(
    "end",
    [ReplyThenDrop("250 2.0.0 queued"), ReplyThenDrop("250 2.0.0 queued\r\n421 4.4.2 idle, bye")],
    ids=["silently", "with a 421"],
)
def test_a_connection_that_died_while_it_waited_is_reopened(serve, connect, parcel, end):
    """F10"""
    server = serve(steps={"final": [end, Reply("250 ok")]})
    transport = connect(server)
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    wait_for(lambda: not server._threads[1].is_alive())
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert (server.session_count, len(server.messages)) == (2, 2)


@pytest.mark.parametrize("step", [Drop(), Drop(is_abrupt=True), Reply("421 4.7.0 too many"), Stall()])
def test_a_connection_that_dies_before_mail_is_answered_is_reopened_once(serve, connect, parcel, step):
    """F10: it burns nothing, and is not done twice"""
    server = serve(steps={"mail": [Reply("250 ok"), step, Reply("250 ok"), step, step]})
    transport = connect(server)
    outcomes = [transport.send(parcel=parcel).outcome for _ in range(2)]
    assert outcomes == [Outcome.ACCEPTED] * 2
    assert server.session_count == 2
    report = transport.send(parcel=parcel)
    assert (report.outcome, report.phase) == (Outcome.RETRY_LATER, Phase.MAIL)
    assert not report.is_transport_fault
    assert (server.session_count, len(server.messages)) == (3, 2)


def test_a_refusal_on_a_reused_connection_is_a_refusal(serve, connect, parcel):
    server = serve(steps={"mail": [Reply("250 ok"), Reply("550 5.7.1 no"), Reply("250 ok")]})
    transport = connect(server)
    outcomes = [transport.send(parcel=parcel).outcome for _ in range(3)]
    assert outcomes == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]
    assert server.session_count == 1


def test_what_comes_after_mail_is_never_said_twice(serve, connect, parcel):
    """F10: only before MAIL was answered is it certain that nothing happened"""
    server = serve(steps={"data": [Reply("354 go"), Drop()]})
    transport = connect(server)
    transport.send(parcel=parcel)
    report = transport.send(parcel=parcel)
    assert (report.outcome, report.phase) == (Outcome.RETRY_LATER, Phase.DATA)
    assert (server.session_count, len(server.messages)) == (1, 1)


def test_a_server_that_is_gone_for_good_is_a_fault_of_the_transport(serve, connect, parcel):
    server = serve()
    transport = connect(server)
    transport.send(parcel=parcel)
    server.stop()
    report = transport.send(parcel=parcel)
    assert (report.outcome, report.phase, report.is_transport_fault) == (Outcome.RETRY_LATER, Phase.CONNECT, True)


def test_several_threads_with_a_transport_each_do_not_disturb_one_another(serve, connect, parcel):
    server = serve()
    transports = [connect(server) for _ in range(4)]

    def work(number: int) -> None:
        for turn in range(25):
            content = b"X-Parcel: %d-%d\r\n\r\n.\r\n" % (number, turn)
            transports[number].send(parcel=replace(parcel, content=content))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({message.content for message in server.messages}) == len(server.messages) == 100
    assert server.session_count == 4
