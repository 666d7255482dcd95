"""What a server that fails at each phase makes of the report: one table for each kind of failure."""

import socket

import pytest

from email_service.delivery.smtp_transport import SmtpLimits
from email_service.delivery.transport import Outcome, Phase
from tests.wire.steps import Drop, Raw, Reply, ReplyThenDrop, Stall, Step

LATER, REFUSED, UNCERTAIN = Outcome.RETRY_LATER, Outcome.REFUSED, Outcome.UNCERTAIN
AT = {
    "banner": Phase.CONNECT,
    "ehlo": Phase.CONNECT,
    "starttls": Phase.TLS,
    "auth": Phase.AUTH,
    "mail": Phase.MAIL,
    "rcpt": Phase.RCPT,
    "data": Phase.DATA,
    "content": Phase.CONTENT,
    "final": Phase.FINAL,
}
FAULTY = {"banner", "ehlo", "starttls", "auth"}


@pytest.fixture
def send_to(serve, connect, server_context, parcel):
    """Send the parcel, with STARTTLS and AUTH, to a server with these steps."""

    def send(steps: dict[str, Step]):
        server = serve(steps=steps, tls="starttls", context=server_context, credentials=("user", "secret"))
        transport = connect(server, use_tls=True, username="user", password="secret")
        report = transport.send(parcel=parcel)
        transport.close()
        return server, report

    return send


@pytest.mark.parametrize("step", [Drop(), Drop(is_abrupt=True), Stall()], ids=["drop", "reset", "stall"])
@pytest.mark.parametrize("key", AT)
def test_a_line_that_goes_dead(send_to, key, step):
    """F10: before the dot it will be tried again, after the dot nobody knows"""
    server, report = send_to({key: step})
    phase = AT[key]
    # Where nothing reads the content, the kernel may take it all, and with it the dot: then it was sent.
    if key == "content" and (isinstance(step, Stall) or report.phase is Phase.FINAL):
        phase = Phase.FINAL
    assert (report.phase, report.outcome) == (phase, UNCERTAIN if phase is Phase.FINAL else LATER)
    assert report.is_transport_fault is (key in FAULTY)
    assert report.code is None
    assert report.reply
    assert server.messages == []


@pytest.mark.parametrize(
    "step", [Reply("451 4.7.1 later"), Reply("421 4.3.2 closing"), ReplyThenDrop("421 4.3.2 closing")]
)
@pytest.mark.parametrize("key", [key for key in AT if key != "content"])
def test_a_transient_refusal(send_to, key, step):
    """F6: greylisting and its kin"""
    server, report = send_to({key: step})
    assert (report.outcome, report.phase) == (LATER, AT[key])
    assert report.code == int(step.text[:3])
    assert report.enhanced_code == step.text[4:9]
    assert report.is_transport_fault is (key in FAULTY)
    assert server.messages == []
    if report.code == 421:
        assert server.session_count == 1
        assert "QUIT" not in server.commands


@pytest.mark.parametrize("step", [Drop(), Drop(is_abrupt=True), ReplyThenDrop("421 4.3.2 closing")])
def test_a_line_that_goes_dead_within_the_content_is_certain(serve, connect, parcel_to, step):
    """F10: the dot was not sent, so nobody can have taken the message"""
    server = serve(steps={"content": step})
    large = parcel_to(content=b"x: y\r\n\r\n" + b"z" * 20_000_000)
    report = connect(server, limits=SmtpLimits()).send(parcel=large)
    assert (report.outcome, report.phase, report.is_transport_fault) == (LATER, Phase.CONTENT, False)
    assert report.code == (421 if step.text else None)
    assert server.received == []


@pytest.mark.parametrize("key", [key for key in AT if key != "content"])
def test_a_permanent_refusal(send_to, key):
    """F9: of the message it is final, of the connection it is the transport's trouble"""
    text = "554 5.7.1 no"
    steps = {key: Reply(text)}
    if key == "ehlo":
        steps["helo"] = Reply(text)
    server, report = send_to(steps)
    assert (report.outcome, report.phase) == (LATER if key in FAULTY else REFUSED, AT[key])
    assert (report.code, report.enhanced_code, report.reply) == (int(text[:3]), text[4:9], text[4:])
    assert report.is_transport_fault is (key in FAULTY)
    assert report.retry_after_seconds is None
    assert server.messages == []


@pytest.mark.parametrize(
    "text", ["354 go on", "999 what", "abc", "+25 ok", "", "25", "HTTP/1.1 400 Bad Request", "334 Zm9v"]
)
@pytest.mark.parametrize("key", ["banner", "ehlo", "mail", "rcpt", "final"])
def test_an_answer_that_makes_no_sense(send_to, key, text):
    """F10: never taken for success, and after the dot never for failure"""
    server, report = send_to({key: [Raw(text + "\r\n"), Drop()]})
    assert (report.outcome, report.phase) == (UNCERTAIN if key == "final" else LATER, AT[key])
    assert server.session_count == 1


@pytest.mark.parametrize("code", [530, 534, 535, 538])
@pytest.mark.parametrize("key", ["auth", "mail", "rcpt", "data"])
def test_missing_or_wrong_credentials_are_never_the_messages_fault(send_to, key, code):
    """F9: 535 opens a breaker and burns nothing"""
    _, report = send_to({key: Reply(f"{code} 5.7.8 no")})
    assert (report.outcome, report.phase, report.is_transport_fault) == (LATER, AT[key], True)


def test_a_wrong_password_is_tried_once(serve, connect, parcel):
    """F9: each further try would count against the account"""
    server = serve(credentials=("user", "right"))
    report = connect(server, username="user", password="wrong").send(parcel=parcel)
    assert (report.code, report.phase, report.is_transport_fault) == (535, Phase.AUTH, True)
    assert [command.split()[0].upper() for command in server.commands] == ["EHLO", "AUTH"]


@pytest.mark.parametrize("offered", [{}, {"credentials": ("user", "secret"), "mechanisms": "CRAM-MD5 XOAUTH2"}])
def test_no_login_no_mail(serve, connect, parcel, offered):
    server = serve(**offered)
    report = connect(server, username="user", password="secret").send(parcel=parcel)
    assert (report.outcome, report.phase, report.is_transport_fault) == (LATER, Phase.AUTH, True)
    assert len(server.commands) == 1


def test_a_closed_port_is_a_fault_of_the_transport(serve, connect, parcel):
    """F10"""
    server = serve()
    server.stop()
    report = connect(server).send(parcel=parcel)
    assert (report.outcome, report.phase, report.is_transport_fault) == (LATER, Phase.CONNECT, True)
    assert report.reply == "Connection refused"


@pytest.mark.parametrize("name", ["nowhere.invalid", "a..b", "x" * 300])
def test_a_name_without_an_address_is_a_fault_of_the_transport(serve, connect, parcel, monkeypatch, name):
    def resolve(*_, **__):
        name.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)  # no test asks a real resolver
    report = connect(serve(), server=name).send(parcel=parcel)
    assert (report.outcome, report.phase, report.is_transport_fault) == (LATER, Phase.CONNECT, True)
    assert report.reply


def test_the_next_address_is_tried_when_the_first_is_silent(serve, connect, parcel, monkeypatch):
    server = serve()
    resolve, closed = socket.getaddrinfo, serve()
    closed.stop()
    both = [*resolve(*closed.address, type=socket.SOCK_STREAM), *resolve(*server.address, type=socket.SOCK_STREAM)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    assert connect(server).send(parcel=parcel).outcome is Outcome.ACCEPTED


def test_a_transport_recovers_after_every_fault(serve, connect, parcel):
    steps = [Drop(), Reply("421 bye"), Stall(), Reply("250 ok")]
    transport = connect(serve(steps={"mail": steps}))
    outcomes = [transport.send(parcel=parcel).outcome for _ in range(4)]
    assert outcomes == [LATER, LATER, LATER, Outcome.ACCEPTED]


def test_a_refused_content_leaves_the_connection_usable(serve, connect, parcel):
    server = serve(steps={"final": [Reply("554 5.6.0 spam"), Reply("250 ok")]})
    transport = connect(server)
    assert transport.send(parcel=parcel).outcome is REFUSED
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert server.session_count == 1
