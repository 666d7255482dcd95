"""What every test stands on: a clean environment, servers never silently missing, no network for unit tests."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from hypothesis import settings
from playwright.sync_api import Browser

from email_service.kernel import derivation
from tests import chromium, missing, news
from tests.applications import House, migrate, opened
from tests.crowd import CHEAP_SCRYPT_COST, Crowd, gathered

# What `make docker-test` and `make bench-test` run: it needs root, a network or many minutes.
collect_ignore = [] if os.environ.get("TEST_APART") else ["benchmarks", "engine"]
UNIT_TESTS = Path(__file__).parent / "unit"
# Whatever configures the service: a developer's own settings must not decide what the tests show.
OUR_SETTINGS = (
    "ACCESS_TOKEN_",
    "ACCOUNT_DIRECTORY",
    "API_RATE_LIMIT",
    "AUDIT_RETENTION_DAYS",
    "BRAND_",
    "CELERY_",
    "CONTENT_RETENTION_DAYS",
    "DATABASE_URL",
    "DKIM_KEYS",
    "EXPOSE",
    "FRONTEND_URL",
    "LINK_PATH_",
    "MAIL_",
    "MAX_BODY_BYTES",
    "METRICS_",
    "OTEL_",
    "PUBLIC_",
    "REDIS_URL",
    "RETENTION_DAYS",
    "SECRET_KEY",
    "SENDER_",
    "SENTRY_",
    "SESSION_",
    "SMTP_",
    "SUPPRESSION_OVERRIDE_LANES",
    "SUPPORT_EMAIL",
    "TEMPLATES_DIR",
    "TOKEN_",
    "TRUSTED_",
)
FEWEST_AT_ONCE = 16  # of the 64 calls of a round, at the median; with fewer, a race proves little
SERVERS = pytest.StashKey[dict[str, servers.Server]]()

settings.register_profile("house", deadline=None, max_examples=100, derandomize=servers.IN_CI)
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that has us in its background ignores it, and what we start would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(OUR_SETTINGS)]:
        del os.environ[name]
    if hasattr(config, "workerinput"):
        found = [servers.Server(**fields) for fields in config.workerinput["servers"]]
    else:
        found = [servers.find_postgres(), servers.find_redis()]
    config.stash[SERVERS] = {server.name: server for server in found}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Under xdist the controller starts the wheels' servers, once and before its workers, and outlives them all."""
    found = node.config.stash[SERVERS].values()
    node.workerinput["servers"] = [
        {"name": server.name, "origin": server.origin, "known_url": server.url()} for server in found
    ]


def pytest_report_header(config: pytest.Config) -> str:
    return "servers: " + ", ".join(map(str, config.stash[SERVERS].values()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if len(report.longrepr) == 3]
    for name, advice in servers.HOW_TO_START.items():
        count = Counter(f"{name} is missing" in reason for reason in reasons)[True]
        if count:
            tests = "1 test" if count == 1 else f"{count} tests"
            terminalreporter.write_line(
                f"{tests} did not run because {name} is missing: {advice}.", red=True, bold=True
            )


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The SQLAlchemy URL of a new PostgreSQL database, this test process's own."""
    yield from _lent(pytestconfig, servers.POSTGRES)


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a Redis database that was empty, is this test process's own and may be flushed."""
    yield from _lent(pytestconfig, servers.REDIS)


@pytest.fixture(scope="session")
def sqlite_house(tmp_path_factory) -> Iterator[House]:
    with opened(f"sqlite:///{tmp_path_factory.mktemp('house')}/house.db") as house:
        migrate(house)
        yield house


@pytest.fixture(scope="session")
def postgres_house(postgres_url) -> Iterator[House]:
    # A database of its own: other tests make tables in the shared one without migrating.
    with servers.fresh_database(postgres_url) as url, opened(url) as house:
        migrate(house)
        yield house


@pytest.fixture(scope="session")
def news_templates(tmp_path_factory) -> Path:
    """The built-in templates and one of another optional category."""
    return news.copy_templates(tmp_path_factory.mktemp("news") / "templates")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. It lasts one module: in its thread nobody else can run an event loop meanwhile."""
    program = chromium.find()
    if program is None:
        missing.give_up(servers.CHROMIUM)
    with chromium.running(program) as running:
        yield running


@pytest.fixture(scope="module")
def _gathering(postgres_house) -> Iterator[Crowd]:
    # For one module at a time: 64 connections are most of what a server of PostgreSQL has to give.
    with gathered(postgres_house) as crowd:
        yield crowd


@pytest.fixture
def crowd(_gathering, request, monkeypatch) -> Iterator[Crowd]:
    """Sixty-four callers in two processes, whom no quota stops; a test in which they took turns fails."""
    monkeypatch.setitem(derivation._SCRYPT, "n", CHEAP_SCRYPT_COST)
    _gathering.begin()
    yield _gathering
    tally = _gathering.tally
    print(f"\n{request.node.name}: {tally}")  # noqa: T201 - `make races` shows it
    # Now and then a busy machine may leave one of the processes waiting for a whole round.
    assert tally.overlapping >= 0.9 * tally.rounds > 0
    assert tally.peak >= FEWEST_AT_ONCE


def _lent(config: pytest.Config, name: str) -> Iterator[str]:
    server = config.stash[SERVERS][name]
    url = server.url()
    if url is None:
        missing.give_up(name)
    lend = {servers.POSTGRES: servers.fresh_database, servers.REDIS: servers.own_redis_database}[name]
    with lend(url) as lent:
        yield lent


@pytest.fixture(autouse=True)
def _unit_tests_reach_no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit test that reaches for a server is in the wrong folder."""
    if not request.path.is_relative_to(UNIT_TESTS):
        return

    def refuse(*args, **kwargs):
        raise AssertionError("A unit test opened a connection: move it out of tests/unit, or keep it off the network.")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
