"""No request of ours is led into a private network: every address is judged, however it is written (SSRF)."""

import json
import socket

import pytest

from email_service.kernel import outbound
from email_service.kernel.outbound import NoAnswerError, Target
from tests.main_app import MainApp, running

ADA = {"subject": "u-1", "email": "ada@example.com"}


@pytest.fixture
def main_app():
    with running(MainApp(people={"u-1": ADA})) as app:
        yield app


def ask(url: str, *private_hosts: str) -> str:
    """The subject that the answer tells of."""
    answer = outbound.post(Target(url=url, private_hosts=private_hosts), b'{"subject": "u-1"}', {})
    return json.loads(answer.content)["subject"]


def refused(url: str, *private_hosts: str) -> str:
    with pytest.raises(NoAnswerError) as caught:
        ask(url, *private_hosts)
    return str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1.2.3",
        "localhost",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "169.254.169.254",
        "[fe80::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "[fd00::1]",
        "[fec0::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
    ],
)
def test_no_private_address_is_asked_however_it_is_written(main_app, monkeypatch, host):
    """T23"""
    reached = []
    monkeypatch.setattr(socket, "create_connection", lambda *place: reached.append(place))
    reason = refused(f"http://{host}:{main_app.port}/", "127.0.0.2")
    assert "not public" in reason
    assert (reached, main_app.requests) == ([], [])


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14"])
def test_public_addresses_are(address):
    assert outbound.is_public(address)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["93.184.215.14", "::1"]])
def test_a_name_with_any_private_address_is_refused(main_app, monkeypatch, addresses):
    """T23"""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (each, 0)) for each in addresses])
    assert "not public" in refused("http://main.example/")


def test_a_name_that_becomes_private_is_asked_where_it_was_judged(main_app, monkeypatch):
    """T23, DNS rebinding: public at the first question, private at every other one."""
    answers, reached = iter(["93.184.215.14"]), []

    def resolve(host, port, *_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    def connect(place, timeout):
        reached.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    url = f"http://rebinding.example:{main_app.port}/"
    assert refused(url) == "ConnectionRefusedError"
    assert reached == [("93.184.215.14", main_app.port)]
    assert "not public" in refused(url)
    assert main_app.requests == []


def test_a_private_host_is_allowed_by_its_name_only(main_app):
    """T23"""
    url = f"http://LOCALHOST:{main_app.port}/"
    assert ask(url, "localhost.") == "u-1"
    assert "not public" in refused(url, "127.0.0.1")
