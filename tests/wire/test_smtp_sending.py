"""What reaches a server that behaves: the envelope, the content and its dots, over each kind of connection."""

import contextlib
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_service.delivery import smtp_dialogue
from email_service.delivery.transport import Outcome, Parcel, Phase, Report
from email_service.kernel.errors import InvalidInputError, SettingsError
from tests.wire.pipelining import wait_for
from tests.wire.steps import Drop, Reply, ReplyThenDrop, Stall


def test_the_content_arrives_as_it_was_given(serve, connect, parcel):
    server = serve()
    report = connect(server).send(parcel=parcel)
    assert report == Report(
        outcome=Outcome.ACCEPTED, phase=Phase.FINAL, code=250, enhanced_code="2.0.0", reply="2.0.0 queued"
    )
    (message,) = server.messages
    assert (message.mail_from, message.rcpt_to) == ("us@example.com", ["ada@example.org"])
    assert message.content == parcel.content
    assert server.commands[1:] == [
        f"MAIL FROM:<us@example.com> SIZE={len(parcel.content)}",
        "RCPT TO:<ada@example.org>",
        "DATA",
    ]


@pytest.mark.parametrize(
    "content",
    [b"a: b\r\n\r\n", b".", b"..\r\n.\r\n", b"a: b\r\n\r\nno line end", b"x" * 3_000_000, b"\r\n.\r\n" * 9, b""],
)
def test_leading_dots_are_doubled_and_the_content_ends_its_line(serve, connect, parcel_to, content):
    """T20"""
    server = serve()
    assert connect(server).send(parcel=parcel_to(content=content)).outcome is Outcome.ACCEPTED
    (message,) = server.messages
    assert message.content == (content if not content or content.endswith(b"\r\n") else content + b"\r\n")
    assert server.session_count == 1


@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\0", b"\r"])
def test_line_ends_that_servers_read_apart_never_reach_the_wire(serve, connect, parcel_to, end):
    """T20: CVE-2023-51764"""
    server = serve()
    smuggled = b"a: b\r\n\r\nx" + end + b"MAIL FROM:<evil@example.com>\r\n"
    with pytest.raises(InvalidInputError):
        connect(server).send(parcel=parcel_to(content=smuggled))
    assert server.session_count == 0


@given(
    st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b"a", b".", b"\x85", b"\xff"]), max_size=9).map(b"".join)
)
def test_every_line_end_is_looked_at(content):
    """T20"""
    parcel = Parcel(message_id="1", sender="us@example.com", recipient="ada@example.org", content=content)
    without = content.replace(b"\r\n", b"")
    is_fit = not any(octet in without for octet in b"\r\n\0")
    with nullcontext() if is_fit else pytest.raises(InvalidInputError):
        smtp_dialogue.check(parcel)


@pytest.mark.parametrize(
    "address", ["a@b.c>\r\nRCPT TO:<d@e.f", "a@b.c,d@e.f", "a@b.c> SIZE=1", "a b@c.d", "a\0@b.c", "\n"]
)
@pytest.mark.parametrize("field", ["sender", "recipient", "others"])
def test_no_address_becomes_a_command(serve, connect, parcel_to, address, field):
    """T15, T19: PYSEC-2026-2338, CVE-2026-82853"""
    server = serve()
    value = (address,) if field == "others" else address
    with pytest.raises(InvalidInputError):
        connect(server).send(parcel=parcel_to(**{field: value}))
    assert server.session_count == 0


def test_the_null_sender_is_written_as_the_null_path(serve, connect, parcel_to):
    server = serve()
    assert connect(server).send(parcel=parcel_to(sender="")).outcome is Outcome.ACCEPTED
    assert server.messages[0].mail_from == ""


def test_implicit_tls_is_encrypted_and_verified(serve, connect, server_context, parcel):
    server = serve(tls="implicit", context=server_context)
    assert connect(server, use_ssl=True).send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.messages[0].content == parcel.content


def test_starttls_comes_before_everything_that_matters(serve, connect, server_context, parcel_to):
    server = serve(tls="starttls", context=server_context, credentials=("user", "päss wörd"))
    transport = connect(server, use_tls=True, username="user", password="päss wörd")
    large = parcel_to(content=b"x: y\r\n\r\n" + b".line\r\n" * 200_000)
    assert transport.send(parcel=large).outcome is Outcome.ACCEPTED
    assert server.messages[0].content == large.content
    verbs = [command.split()[0].upper() for command in server.commands]
    assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "CRAM-MD5 LOGIN PLAIN", "login"])
def test_each_mechanism_that_is_offered_and_known_logs_in(serve, connect, parcel, mechanisms):
    server = serve(credentials=("user", "secret"), mechanisms=mechanisms)
    assert connect(server, username="user", password="secret").send(parcel=parcel).outcome is Outcome.ACCEPTED


def test_a_server_without_ehlo_is_greeted_the_old_way(serve, connect, parcel):
    server = serve(steps={"ehlo": Reply("502 5.5.1 not implemented")})
    assert connect(server).send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.commands[1].startswith("helo ")
    assert server.commands[2] == "MAIL FROM:<us@example.com>"


def test_smtputf8_is_asked_for_when_an_address_needs_it(serve, connect, parcel_to):
    server = serve()
    report = connect(server).send(parcel=parcel_to(recipient="jörg@xn--bcher-kva.example"))
    assert report.outcome is Outcome.ACCEPTED
    assert server.commands[1].endswith(" BODY=8BITMIME SMTPUTF8")
    assert server.commands[2].encode("utf-8", "surrogateescape").decode() == "RCPT TO:<jörg@xn--bcher-kva.example>"


@pytest.mark.parametrize(
    "changes", [{"recipient": "jörg@b.example"}, {"content": "To: jörg@b.example\r\n\r\n".encode()}]
)
def test_without_smtputf8_such_a_message_is_refused_and_nothing_is_said(serve, connect, parcel_to, changes):
    server = serve(extensions=("8BITMIME",))
    report = connect(server).send(parcel=parcel_to(**changes))
    assert (report.outcome, report.phase, report.code, report.enhanced_code) == (
        Outcome.REFUSED,
        Phase.MAIL,
        None,
        "5.6.7",
    )
    assert "SMTPUTF8" in report.reply
    assert len(server.commands) == 1


def test_without_smtputf8_only_the_copy_that_needs_it_is_left_out(serve, connect, parcel_to):
    server = serve(extensions=())
    report = connect(server).send(parcel=parcel_to(others=("jörg@b.example", "bob@example.org")))
    assert report.outcome is Outcome.ACCEPTED
    assert report.refused["jörg@b.example"].startswith("5.6.7 ")
    assert server.messages[0].rcpt_to == ["ada@example.org", "bob@example.org"]


def test_copies_ride_along_once_each(serve, connect, parcel_to):
    """T15: one RCPT for each address that was asked for."""
    server = serve()
    others = ("bob@example.org", "ada@example.org", "eve@example.org", "bob@example.org")
    assert connect(server).send(parcel=parcel_to(others=others)).refused == {}
    assert server.messages[0].rcpt_to == ["ada@example.org", "bob@example.org", "eve@example.org"]


def test_a_refused_copy_is_noted_and_the_others_get_theirs(serve, connect, parcel_to):
    """F9"""
    server = serve(steps={"rcpt:bob@example.org": Reply("550 5.1.1 no such user")})
    report = connect(server).send(parcel=parcel_to(others=("bob@example.org", "eve@example.org")))
    assert report.outcome is Outcome.ACCEPTED
    assert report.refused == {"bob@example.org": "550 5.1.1 no such user"}
    assert server.messages[0].rcpt_to == ["ada@example.org", "eve@example.org"]


def test_when_the_recipient_is_refused_nobody_gets_it(serve, connect, parcel_to):
    """F9, T15"""
    server = serve(steps={"rcpt:ada@example.org": [Reply("550 5.1.1 no such user"), Reply("250 ok")]})
    transport = connect(server)
    parcel = parcel_to(others=("bob@example.org",))
    report = transport.send(parcel=parcel)
    assert (report.outcome, report.phase, report.enhanced_code) == (Outcome.REFUSED, Phase.RCPT, "5.1.1")
    assert server.received == []
    assert server.commands[-1] == "RSET"
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.session_count == 1


@pytest.mark.parametrize("parting", [Drop(), Stall(), Reply("554 no"), ReplyThenDrop("221 bye")])
def test_what_quit_comes_to_changes_nothing(serve, connect, parcel, parting):
    """F10: exactly one message"""
    server = serve(steps={"quit": parting})
    transport = connect(server)
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    transport.close()
    transport.close()
    assert len(server.messages) == 1
    wait_for(lambda: server.commands[-1] == "QUIT")


def test_nothing_is_lost_when_the_line_dies_right_after_the_250(serve, connect, parcel):
    """F10: after 250 before QUIT, `sent`, exactly one"""
    server = serve(steps={"final": [ReplyThenDrop("250 2.0.0 queued"), Reply("250 ok")]})
    transport = connect(server)
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert len(server.received) == 1
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.session_count == 2


def test_a_transport_that_could_not_send_is_not_built(serve, connect, tmp_path):
    server = serve()
    for options in ({"server": ""}, {"suppress_send": True}, {"ca": tmp_path / "missing.pem"}):
        with pytest.raises(SettingsError), contextlib.closing(connect(server, **options)):
            pass


def test_flask_mails_own_way_to_send_is_shut(serve, connect):
    """It has no deadline, drops partial refusals and needs an application context."""
    with pytest.raises(NotImplementedError):
        connect(serve())._connection.send(None)
