"""A real service, with its web process, its delivery and its database, for all tests of the client."""

from collections.abc import Iterator

import pytest
from faces import Face

from email_service_client import EmailService
from tests.journeys.processes import House, Web
from tests.journeys.turnstile import Turnstile

SETTINGS = {
    "FRONTEND_URL": "https://app.example.com",
    "TRUSTED_PROXY_COUNT": "1",
    "PUBLIC_REDEEM_FAILURE_LIMIT": "1000/minute",
}


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("service"), dict(SETTINGS)) as house:
        yield house


@pytest.fixture(scope="session")
def web(installation) -> Web:
    return installation.serve()


@pytest.fixture(params=["blocking", "awaiting"])
def face(request, web) -> Face:
    return Face(web.url, web.api_key, request.param == "blocking")


@pytest.fixture
def service(web) -> Iterator[EmailService]:
    """What a test needs of the service besides what it is about."""
    with EmailService(web.url, web.api_key) as service:
        yield service


@pytest.fixture
def turnstile(web) -> Iterator[Turnstile]:
    """A proxy before the service that can lose an answer."""
    with Turnstile(int(web.url.rpartition(":")[2])) as turnstile:
        yield turnstile
