"""Installations, mail servers, databases and brokers for the journeys; whatever a journey started ends with it."""

import contextlib
import resource
import secrets
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
import trustme

from tests.journeys import brokers, containers, sink
from tests.journeys.private_servers import PrivatePostgres, PrivateRedis, private_postgres, private_redis
from tests.journeys.processes import House, measured, wait_until
from tests.journeys.town import Town, open_town
from tests.wire.server import Script, SmtpServer

CONNECTIONS = 4096
FAULT = "fault"
PAGE = "page"
TOLD = {FAULT: "faults", PAGE: "what was run of the documentation"}


def pytest_report_header() -> str:
    return f"the service: {f'containers of {containers.IMAGE}' if containers.IMAGE else 'processes'}"


@pytest.fixture(scope="session", autouse=True)
def _room_for_connections() -> Iterator[None]:
    """A thousand connections must not fail on the tests' own side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < CONNECTIONS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS if hard < 0 else min(CONNECTIONS, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """A new installation in an empty folder; its settings by their names."""
    with contextlib.ExitStack() as stack:

        def build(**settings: str) -> House:
            folder = tmp_path / secrets.token_hex(4)
            folder.mkdir()
            return stack.enter_context(House(folder, settings))

        yield build


@pytest.fixture
def serve_mail() -> Iterator[Callable[..., SmtpServer]]:
    """Start a mail server from the fields of its script."""
    with contextlib.ExitStack() as stack:
        yield lambda **fields: stack.enter_context(SmtpServer(Script(**fields)))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL that may be stopped."""
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def own_redis() -> Iterator[PrivateRedis]:
    """A Redis that may be stopped."""
    with private_redis() as server:
        yield server


@pytest.fixture(scope="session")
def whole_town(own_postgres, own_redis, tmp_path_factory) -> Iterator[Town]:
    with open_town(tmp_path_factory.mktemp("town"), own_postgres, own_redis) as town:
        yield town


@pytest.fixture
def town(whole_town) -> Iterator[Town]:
    """Web, two workers and a beat, all of them alive, with nothing left to do; what a fault broke is mended after."""
    _mend(whole_town)
    whole_town.web()
    # One that a test before has revived may still be starting, and would take no part.
    wait_until(lambda: all(" ready." in worker.log() for worker in whole_town.workers()), 60)
    yield whole_town
    _mend(whole_town)


def _mend(town: Town) -> None:
    town.sink.rule = sink.usual
    town.turnstile.release()
    for server in (town.postgres, town.redis):
        server.thaw()
        server.start()
    town.postgres.throw_out(-1)
    with town.postgres.connect(town.database) as connection:
        # What a failed test left behind must not be counted by the next.
        connection.execute("UPDATE messages SET status = 'cancelled', due_at = NULL WHERE due_at IS NOT NULL")
        connection.execute("DELETE FROM route_breakers")
    town.revive()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print what became of the messages of a fault; the summary of the run repeats it."""

    def say(line: str) -> None:
        measured(line)
        request.node.user_properties.append((FAULT, line))

    return say


@pytest.fixture
def database(postgres_url: str) -> Iterator[dict[str, str]]:
    """The settings of a PostgreSQL database that belongs to one test alone."""
    with servers.fresh_database(postgres_url) as url:
        yield {"DATABASE_URL": url, "SECRET_KEY": secrets.token_urlsafe(32)}


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[brokers.Broker]:
    """A broker with nothing in it, whose wake-ups can be thrown away."""
    if request.param == "redis":
        with brokers.redis_broker(request.getfixturevalue("redis_url")) as ours:
            yield ours
        return
    if not brokers.is_rabbitmq_here():
        pytest.skip("RabbitMQ is missing: nothing listens on 127.0.0.1:5672.")
    with brokers.rabbitmq_broker() as ours:
        yield ours


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    told = [told for report in reports if report.when == "call" for told in report.user_properties]
    for kind, title in TOLD.items():
        if lines := [line for name, line in told if name == kind]:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if len(report.longrepr) == 3]
    count = Counter("RabbitMQ is missing" in reason for reason in reasons)[True]
    if count:
        terminalreporter.write_line(
            f"{count} journeys did not run because RabbitMQ is missing: start one on 127.0.0.1:5672.",
            red=True,
            bold=True,
        )
