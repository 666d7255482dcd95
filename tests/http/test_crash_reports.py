"""What Sentry hears of a crash, captured where it would leave: where it happened, of which request, and no secret."""

import json
import logging
import socket
from contextlib import redirect_stderr
from io import StringIO

import pytest
import structlog
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from email_service.kernel import crash_reports, logs
from tests.applications import PASSWORD_RESET
from tests.scripted_transport import Scripted
from tests.strangers import ADA

TOKEN = "Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"


class Captured(Transport):
    """Keeps what would be sent."""

    bodies: list[str]

    def capture_envelope(self, envelope: Envelope) -> None:
        self.bodies.append(envelope.serialize().decode())


@pytest.fixture
def told(monkeypatch):
    """What was sent, each as the document it is, while the log goes on as ever."""
    monkeypatch.setattr(Captured, "bodies", [], raising=False)
    report = crash_reports.start("http://key@127.0.0.1:1/1", transport=Captured)
    with redirect_stderr(StringIO()) as log:
        logs.configure(level="INFO", is_human=False, report=report)
        structlog.contextvars.clear_contextvars()
        yield lambda: [json.loads(body.splitlines()[2]) for body in Captured.bodies]
        assert log.getvalue()
    structlog.reset_defaults()


def test_what_nobody_foresaw_is_told_with_its_place_and_its_request(house, api, told):
    house.execute("UPDATE clients SET scopes = '{half of some json'")
    house.parts.keyring.forget(api.key)
    answer = api.get("/v1/messages")
    assert answer.status_code == 500
    [event] = told()
    assert event["tags"]["event"] == "request.failed"
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    [error] = event["exception"]["values"][-1:]
    assert (error["type"], event["level"]) == ("JSONDecodeError", "error")
    assert any(frame["module"].startswith("email_service") for frame in error["stacktrace"]["frames"])
    assert event["release"]


def test_no_secret_and_no_address_is_told(house, api, told):
    """T27"""
    api.send(**PASSWORD_RESET)
    house.deliver(Scripted([RuntimeError(f"cannot mail {ADA} with {TOKEN} and {api.key}")]))
    [event] = told()
    assert event["tags"]["event"] == "delivery.crashed"
    assert set(event["tags"]) == {"event", "message_id", "request_id"}
    said = event["exception"]["values"][-1]["value"]
    assert said == "cannot mail a***@e***.com with [hidden] and [hidden]"
    text = "\n".join(Captured.bodies)
    assert [each for each in (ADA, TOKEN, api.key, "vars", "breadcrumbs", "app.example.com") if each in text] == []


def test_what_was_foreseen_is_not_told(house, api, told):
    api.get("/v1/messages/nothing")
    api.send(to="nobody")
    structlog.get_logger("x").error("route.down", reason="the door is shut")
    house.deliver(Scripted([OSError(socket.gaierror("x"))]))
    assert told() == []


@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "theirs"])
def test_a_librarys_crash_is_told_like_our_own(told, is_ours):
    logger = structlog.get_logger("x") if is_ours else logging.getLogger("celery.worker")
    try:
        int("no number")
    except ValueError:
        logger.exception("stopped")
    [event] = told()
    assert event["exception"]["values"][-1]["value"].startswith("invalid literal")
