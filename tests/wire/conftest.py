"""Servers, certificates and transports for the wire tests; everything that was started is stopped."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from flask import Flask
from flask_mail import Mail

from email_service.delivery import smtp_wire
from email_service.delivery.smtp_transport import SmtpLimits, SmtpTransport
from email_service.delivery.transport import Parcel
from tests.wire.server import Script, SmtpServer
from tests.wire.silence import Silence

CONTENT = b"From: a@example.com\r\nSubject: hello\r\n\r\nfirst\r\n.\r\n..two\r\nlast\r\n"

# Long enough for a machine that loses both cores for a while; where silence is part of a test, nobody waits for it.
LIMITS = SmtpLimits(timeout_seconds=20, attempt_max_seconds=40)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def context_for(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """A server's context with a certificate for these names, from the trusted authority unless another is given."""

    def issue(*names: str, by: trustme.CA = authority) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        by.issue_cert(*names).configure_cert(context)
        return context

    return issue


@pytest.fixture(scope="session")
def server_context(context_for: Callable[..., ssl.SSLContext]) -> ssl.SSLContext:
    return context_for("localhost", "127.0.0.1")


@pytest.fixture(params=["plain", "pipelining"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Whether the servers of the test offer PIPELINING; what comes of a parcel must not depend on it."""
    return request.param


@pytest.fixture
def serve(dialect: str) -> Iterator[Callable[..., SmtpServer]]:
    """Start a server from the fields of its script."""
    with contextlib.ExitStack() as stack:

        def serve_script(**fields) -> SmtpServer:
            script = Script(**fields)
            if dialect == "pipelining":
                script = replace(script, extensions=(*script.extensions, "PIPELINING"))
            return stack.enter_context(SmtpServer(script))

        yield serve_script


@pytest.fixture
def silence() -> Silence:
    """Of the servers that fall silent for transports without limits of their own."""
    return Silence()


@pytest.fixture
def connect(ca_file: Path, silence: Silence, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SmtpTransport]]:
    """A transport to that server, configured as the composition root does it: from the settings of Flask-Mail.

    With limits of its own it really waits as long as they say.
    """
    with contextlib.ExitStack() as stack:

        def transport_to(server: SmtpServer, /, *, ca: Path | None = ca_file, **options) -> SmtpTransport:
            if server.script.has_silence and "limits" not in options:
                silence.servers.append(server)
                monkeypatch.setattr(smtp_wire, "_poll_for", silence.poll_for)
            limits = options.pop("limits", LIMITS)
            host, port = server.address
            app = Flask("wire")
            app.config.update(MAIL_SERVER=host, MAIL_PORT=port)
            app.config.update({f"MAIL_{name.upper()}": value for name, value in options.items()})
            transport = SmtpTransport(Mail(app), limits, ca)
            stack.callback(transport.close)
            return transport

        yield transport_to


@pytest.fixture
def parcel() -> Parcel:
    return Parcel(message_id="1", sender="us@example.com", recipient="ada@example.org", content=CONTENT)


@pytest.fixture
def parcel_to(parcel: Parcel) -> Callable[..., Parcel]:
    """The parcel with some of it exchanged."""
    return lambda **changes: replace(parcel, **changes)


@pytest.fixture
def parcels(parcel) -> list[Parcel]:
    """Five, each with a number in its content."""
    return [replace(parcel, message_id=str(n), content=b"X-Number: %d\r\n\r\n.\r\nbody\r\n" % n) for n in range(5)]
