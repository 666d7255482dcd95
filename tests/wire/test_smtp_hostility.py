"""Servers that lie, drip, flood, strip STARTTLS or show a wrong certificate; and what of it may reach a log."""

import tracemalloc
from base64 import b64encode
from dataclasses import replace
from itertools import count
from time import monotonic

import pytest
import trustme

from email_service.delivery.smtp_transport import SmtpLimits
from email_service.delivery.transport import Outcome, Phase
from email_service.kernel import clock
from tests.wire.steps import Drip, Drop, Flood, Raw, Reply, ReplyThenDrop, Stall

# Real waits. An attempt that has to come as far as the content or its answer has time for that on a machine that loses
# both cores for a while; what ends by another limit than it should takes far longer than `AT_MOST_SECONDS`.
SHORT = SmtpLimits(timeout_seconds=60, attempt_max_seconds=0.4)
ENOUGH = replace(SHORT, attempt_max_seconds=2.5)
AT_MOST_SECONDS = 20
SLOW = Drip("250-" + "x" * 999, pause_seconds=0.05)
SECRET = "s3cret-of-the-mail-account"


def assert_nothing_was_said(server, report):
    assert (report.outcome, report.phase, report.is_transport_fault) == (Outcome.RETRY_LATER, Phase.TLS, True)
    assert server.received == []
    assert not any(command.startswith(("AUTH", "MAIL", "RCPT", "DATA")) for command in server.commands)


@pytest.mark.parametrize(
    "steps", [{}, {"starttls": Reply("454 4.7.0 TLS not available")}, {"starttls": Reply("250 ok")}]
)
def test_without_starttls_nothing_is_said(serve, connect, server_context, parcel, steps):
    """CVE-2016-0772: neither offered nor, when offered, granted"""
    server = serve(steps=steps, tls="starttls" if steps else "none", context=server_context, credentials=("u", SECRET))
    report = connect(server, use_tls=True, username="u", password=SECRET).send(parcel=parcel)
    assert_nothing_was_said(server, report)
    assert SECRET.encode() not in server.conversations[0].raw


def test_plain_text_behind_the_starttls_answer_is_not_taken_for_encrypted(serve, connect, server_context, parcel):
    """CVE-2011-0411, on the client's side"""
    injected = Raw("220 go ahead\r\n250-wire.example\r\n250 AUTH PLAIN\r\n")
    server = serve(steps={"starttls": injected}, tls="starttls", context=server_context)
    assert_nothing_was_said(server, connect(server, use_tls=True).send(parcel=parcel))
    assert not server.conversations[0].is_encrypted


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_wrong_certificate_is_refused_before_anything_is_said(*, serve, connect, context_for, parcel, tls, wrong):
    """CVE-2016-0772, F9"""
    context = context_for("mail.example.net") if wrong == "name" else context_for("127.0.0.1", by=trustme.CA())
    server = serve(tls=tls, context=context, credentials=("u", SECRET))
    options = {"use_tls": tls == "starttls", "use_ssl": tls == "implicit", "username": "u", "password": SECRET}
    report = connect(server, **options).send(parcel=parcel)
    assert_nothing_was_said(server, report)
    expected = "IP address mismatch" if wrong == "name" else "unable to get local issuer certificate"
    assert expected in report.reply


def test_our_own_authority_is_trusted_only_when_it_is_given(serve, connect, server_context, parcel):
    server = serve(tls="implicit", context=server_context)
    assert_nothing_was_said(server, connect(server, use_ssl=True, ca=None).send(parcel=parcel))


def test_tls_to_a_server_that_speaks_none(serve, connect, parcel):
    """F9"""
    server = serve()
    assert_nothing_was_said(server, connect(server, use_ssl=True).send(parcel=parcel))


@pytest.mark.parametrize("key", ["banner", "ehlo", "mail", "rcpt", "data", "final"])
@pytest.mark.parametrize("step", [SLOW, Stall()], ids=["drip", "stall"])
def test_an_attempt_ends_whatever_the_server_does(serve, connect, parcel, key, step):
    """F10: banner stall, one octet at a time; each octet resets a time-out that knows no deadline"""
    transport = connect(serve(steps={key: step}), limits=ENOUGH if key == "final" else SHORT)
    begun_at = monotonic()
    report = transport.send(parcel=parcel)
    assert monotonic() - begun_at < AT_MOST_SECONDS
    assert report.outcome is (Outcome.UNCERTAIN if key == "final" else Outcome.RETRY_LATER)


def test_one_reply_drips_no_longer_than_the_time_out(serve, connect, parcel):
    limits = SmtpLimits(timeout_seconds=2.5, attempt_max_seconds=60)
    transport = connect(serve(steps={"mail": SLOW}), limits=limits)
    begun_at = monotonic()
    assert transport.send(parcel=parcel).phase is Phase.MAIL
    assert monotonic() - begun_at < AT_MOST_SECONDS


def test_a_server_that_reads_nothing_does_not_hold_the_attempt(serve, connect, parcel_to):
    """F10"""
    transport = connect(serve(steps={"content": Stall()}), limits=ENOUGH)
    begun_at = monotonic()
    report = transport.send(parcel=parcel_to(content=b"x: y\r\n\r\n" + b"z" * 50_000_000))
    assert (report.outcome, report.phase) == (Outcome.RETRY_LATER, Phase.CONTENT)
    assert monotonic() - begun_at < AT_MOST_SECONDS


def test_the_final_answer_may_take_all_the_time_there_is(serve, connect, parcel, monkeypatch):
    """RFC 5321 4.5.3.2.6: giving up early would only make it uncertain."""
    server = serve(steps={"final": Drip("250 ok", pause_seconds=0.02)})
    transport = connect(server, limits=SmtpLimits(timeout_seconds=30, attempt_max_seconds=2000))
    looks = count()
    # From when the server has the content, most of the time of a reply passes between two looks at the clock.
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: monotonic() + (20 * next(looks) if server.received else 0))
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("unit", ["x", "250-more\r\n"], ids=["line", "lines"])
@pytest.mark.parametrize("key", ["banner", "ehlo", "mail", "rcpt", "data", "final"])
def test_an_endless_reply_costs_neither_memory_nor_time(serve, connect, parcel, key, unit):
    """F10: 1 GB reply line"""
    transport = connect(serve(steps={key: Flood("250-", unit=unit)}))
    tracemalloc.start()
    begun_at = monotonic()
    report = transport.send(parcel=parcel)
    seconds, peak = monotonic() - begun_at, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < AT_MOST_SECONDS
    assert peak < 4_000_000
    assert len(report.reply) <= 500
    # What it said was 250, after the dot too; before the dot the connection is given up.
    assert report.outcome is (Outcome.ACCEPTED if key == "final" else Outcome.RETRY_LATER)


def test_a_hostile_reply_is_kept_short_and_printable(serve, connect, parcel):
    evil = "550-5.1.1 a\x1b[2Jb\u202ec\u2066d\0e\u200bf\udcffg\x85h<script>\r\n550 5.1.1 " + "long " * 1000
    report = connect(serve(steps={"rcpt": Reply(evil)})).send(parcel=parcel)
    assert report.outcome is Outcome.REFUSED
    assert report.enhanced_code == "5.1.1"
    assert len(report.reply) == 500
    assert report.reply.isprintable()
    assert report.reply.startswith("5.1.1 a [2Jb c d e f")


@pytest.mark.parametrize("text", ["450 4.7.1 greylisted, try again in 300 seconds", "450 4.7.1 retry in 5 minutes"])
def test_the_servers_wish_is_reported(serve, connect, parcel, text):
    """F6"""
    report = connect(serve(steps={"rcpt": Reply(text)})).send(parcel=parcel)
    assert (report.outcome, report.retry_after_seconds) == (Outcome.RETRY_LATER, 300)


@pytest.mark.parametrize("key", ["mail", "rcpt", "data", "content"])
def test_an_answer_before_its_question_is_never_taken_for_success(*, serve, connect, dialect, parcel_to, key):
    """F10: a 250 that lies ready would pass for the answer to the final dot"""
    early = {"mail": "250 ok", "rcpt": "250 ok", "data": "354 go", "content": "250 early"}[key]
    extra = "" if key == "content" else "\r\n250 2.0.0 queued"
    server = serve(steps={key: Raw(f"{early}{extra}\r\n"), "final": Drop()})
    # So large that the answer is there before the content is out; no client can tell one that comes with the dot.
    large = parcel_to(content=b"x: y\r\n\r\n" + b"z" * 20_000_000)
    report = connect(server, limits=SmtpLimits()).send(parcel=large)
    assert report.outcome is Outcome.RETRY_LATER
    assert report.reply != "timed out"
    if dialect == "plain":
        last = "DATA" if key == "content" else key.upper()
        assert server.commands[-1].startswith(last)  # and nothing after it
    assert server.received == []
    if key != "content":
        assert b"zzz" not in server.conversations[0].raw


def test_a_server_that_gives_its_reason_while_we_write_is_heard(serve, connect, parcel_to):
    """F9: 552"""
    server = serve(steps={"content": ReplyThenDrop("552 5.3.4 message too big")})
    large = parcel_to(content=b"x: y\r\n\r\n" + b"z" * 20_000_000)
    report = connect(server, limits=SmtpLimits()).send(parcel=large)
    assert (report.outcome, report.phase, report.code) == (Outcome.REFUSED, Phase.CONTENT, 552)


@pytest.mark.parametrize("echo", ["535 5.7.8 bad login {}", "{}", "454 {} try later"])
@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN"])
def test_credentials_never_come_back_in_a_report(*, serve, connect, parcel, capfd, echo, mechanisms):
    """T27: not even when the server repeats them"""
    forms = [b64encode(f"\0user\0{SECRET}".encode()).decode(), b64encode(SECRET.encode()).decode(), SECRET]
    for form in forms:
        server = serve(steps={"auth": Reply(echo.format(form))}, credentials=("user", SECRET), mechanisms=mechanisms)
        transport = connect(server, username="user", password=SECRET, debug=2)
        shown = repr(transport.send(parcel=parcel)) + repr(transport) + repr(vars(transport))
        shown += "".join(capfd.readouterr())
        assert not [secret for secret in forms if secret in shown]


def test_a_report_is_the_same_for_every_parcel_after_a_hostile_one(serve, connect, parcel):
    server = serve(steps={"rcpt": [Reply("550 5.1.1 \r\n250 ok"), Reply("250 ok")]})
    transport = connect(server)
    assert transport.send(parcel=parcel).outcome is Outcome.REFUSED
    assert transport.send(parcel=parcel).outcome is Outcome.ACCEPTED
    assert len(server.messages) == 1
