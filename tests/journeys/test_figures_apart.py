"""A web process that tells its figures at a place of their own, as an instance for strangers has to."""

import socket

import pytest
import requests

from tests.journeys.processes import free_port


@pytest.fixture
def port() -> int:
    return free_port()


def test_a_public_instance_tells_its_figures_at_their_own_place_only(house, port):
    """T30"""
    installation = house(EXPOSE="public", METRICS_BIND=f"127.0.0.1:{port}")
    (folder := installation.folder / "tmp").mkdir()
    web = installation.serve("--workers", "2", TMPDIR=str(folder))
    for _ in range(20):
        assert requests.post(f"{web.url}/public/v1/tokens", json={}, timeout=30).status_code == 422
    told = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30)
    assert told.ok
    labels = 'endpoint="/public/v1/tokens",method="POST",status="4xx"'
    assert f"email_service_http_request_seconds_count{{{labels}}} 20.0" in told.text
    # Neither half answers for the other, whatever a caller says about where it came in.
    assert requests.get(f"{web.url}/metrics", timeout=30).status_code == 404
    disguised = {"Host": f"127.0.0.1:{port}", "X-Forwarded-Port": str(port)}
    assert requests.get(f"{web.url}/metrics", headers=disguised, timeout=30).status_code == 404
    other = requests.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": web.url.partition("//")[2]}, timeout=30)
    assert '"status"' not in other.text
    assert len(list(folder.glob("email-service-figures-*"))) == 1
    assert web.process.terminate() == 0
    assert list(folder.glob("email-service-figures-*")) == []


@pytest.mark.parametrize("command", [["run"], ["worker"]], ids=["run", "worker"])
def test_a_place_that_somebody_else_has_is_refused_in_one_sentence(house, port, redis_url, command):
    with socket.create_server(("127.0.0.1", port)):
        settings = {"METRICS_BIND": f"127.0.0.1:{port}", "CELERY_BROKER_URL": redis_url}
        refused = house(**settings).command(*command)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: Cannot listen on 127.0.0.1:{port} (Address already in use): "
        "another process has it, or choose another with METRICS_BIND.\n"
    )
