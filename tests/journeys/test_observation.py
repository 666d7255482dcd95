"""What is seen from outside of processes that work together: one trace through all of them, and lines of one shape."""

import json
import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.journeys import collector
from tests.journeys.mailbag import smtp_settings
from tests.journeys.processes import Process, free_port, wait_until, welcome

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "r-42"}


@pytest.fixture
def installation(house, database, redis_url, serve_mail):
    """An installation with Celery and a mail server; it is started by the test."""
    return lambda **settings: house(**database, CELERY_BROKER_URL=redis_url, **smtp_settings(serve_mail()), **settings)


def events(path: Path) -> list[dict]:
    """Each line as the event that it is; one that is none fails."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_call_is_followed_through_celery_to_the_mail_server(installation):
    with collector.collecting() as collected:
        # How often a process sends what it has is the library's own setting.
        running = installation(OTEL_EXPORTER_OTLP_ENDPOINT=collected.endpoint, OTEL_BSP_SCHEDULE_DELAY="100")
        web = running.serve()
        running.start("worker")
        web.api_key = running.create_client()
        answer = web.call("POST", "/v1/messages", json=welcome("ada@example.com"), headers=CALL)
        assert answer.status_code == 202
        web.wait_for(answer.json(), "sent")
        [attempt] = wait_until(lambda: collected.named("smtp.send"))
        [call] = wait_until(lambda: collected.named("POST /v1/messages"))
    assert call.trace_id.hex() == attempt.trace_id.hex() == TRACE
    assert attempt.parent_span_id == call.span_id
    assert {each.key: each.value.string_value for each in attempt.attributes}["message_id"] == answer.json()["id"]
    assert "ada@example.com" not in str(collected.spans)
    [answered] = [line for line in running.logs().splitlines() if '"r-42"' in line and "request.answered" in line]
    assert json.loads(answered)["trace_id"] == TRACE


def test_a_crash_of_a_process_reaches_sentry(installation, database):
    with collector.collecting() as collected:
        running = installation(SENTRY_DSN=collected.dsn)
        web = running.serve()
        web.api_key = running.create_client()
        with psycopg.connect(database["DATABASE_URL"].replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("UPDATE clients SET scopes = '5'")
        assert web.call("GET", "/v1/messages", headers=CALL).status_code == 500
        [crash] = wait_until(lambda: collected.crashes)
    assert (crash["tags"]["event"], crash["tags"]["request_id"]) == ("request.failed", "r-42")
    assert crash["exception"]["values"][-1]["type"] == "TypeError"
    assert web.api_key not in str(crash)


def test_every_line_of_every_process_is_one_event(installation):
    """T27: also of gunicorn's own process, of Celery, and of a process that is killed."""
    running, port = installation(), free_port()

    def start(*words: str) -> Process:
        # Standard error is the log; what Celery and gunicorn say to a person on the other one is not.
        with (running.folder / f"{words[0]}.json").open("wb") as log:
            return running.start(*words, log=log, TMPDIR=str(running.folder))

    web = running.await_web(start("run", "--port", str(port)), port)
    others = start("worker"), start("beat")
    web.api_key = running.create_client()
    answer = web.call("POST", "/v1/messages", json=welcome("ada@example.com"), headers=CALL)
    web.wait_for(answer.json(), "sent")
    [child] = web.process.children()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: web.process.children() not in ([], [child]))
    running.await_web(web.process, port)
    # Only now do both have a handler.
    wait_until(lambda: " ready." in (running.folder / "worker.json").read_text())
    wait_until(lambda: list(running.folder.glob("email-service-*-beat")))
    assert [process.terminate() for process in (web.process, *others)] == [0, 0, 0]
    lines = {name: events(running.folder / f"{name}.json") for name in ("run", "worker", "beat")}
    for of_process in lines.values():
        assert all({"event", "level", "logger", "timestamp"} <= set(line) for line in of_process)
    assert any("SIGKILL" in line["event"] and line["logger"] == "gunicorn.error" for line in lines["run"])
    [sent] = [line for line in lines["worker"] if line["event"] == "message.sent"]
    assert (sent["message_id"], sent["request_id"]) == (answer.json()["id"], "r-42")
    [answered] = [line for line in lines["run"] if line.get("request_id") == "r-42"]
    assert (answered["message_id"], answered["client"]) == (answer.json()["id"], "journeys")


@pytest.mark.parametrize("command", ["run", "worker"])
@pytest.mark.parametrize(
    "wanted",
    [("SENTRY_DSN", "sentry", "sentry_sdk"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel", "opentelemetry")],
    ids=["sentry", "otel"],
)
def test_an_extra_that_is_missing_is_named_in_one_sentence(house, redis_url, command, wanted):
    setting, extra, library = wanted
    installation = house(CELERY_BROKER_URL=redis_url)
    # As if it was not installed: this comes before the library.
    (installation.folder / "sitecustomize.py").write_text(f"import sys; sys.modules[{library!r}] = None\n")
    settings = {setting: "http://key@127.0.0.1:1/1", "PYTHONPATH": str(installation.folder)}
    refused = installation.command(command, **settings)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: {setting} is set, and what it needs is not installed: "
        f"pip install 'email-service[{extra}]', or unset it.\n"
    )
