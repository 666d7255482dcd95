"""How well an instance says it is: what waits, whether the broker is there, and without holding up anybody."""

import socket
import sqlite3
from contextlib import closing
from uuid import UUID

import pytest

from email_service.web import checks
from tests.applications import RESET, Api


@pytest.fixture
def locked(house):
    """Somebody else holds SQLite's only write lock."""
    with closing(sqlite3.connect(house.sessions.kw["bind"].url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_nothing_that_waits_is_null(api):
    ready = api.get("/readyz").json
    assert (ready["oldest_due_seconds"], ready["checks"]["broker"]) == (None, "none")


def test_the_age_of_what_waits_longest_is_told_until_a_worker_has_it(api):
    message_id = UUID(api.send().json["id"])
    api.send()
    api.house.execute("UPDATE messages SET due_at = '2026-01-01 00:00:00.000000' WHERE id = :id", id=message_id.hex)
    assert api.get("/readyz").json["oldest_due_seconds"] > 3600
    api.house.deliver()
    assert api.get("/readyz").json["oldest_due_seconds"] is None


def test_what_is_due_later_does_not_wait(api):
    api.send()
    api.house.execute("UPDATE messages SET due_at = '2126-01-01 00:00:00.000000'")
    assert api.get("/readyz").json["oldest_due_seconds"] is None


def test_a_broker_that_answers_is_ok(house, reopen):
    with socket.create_server(("127.0.0.1", 0)) as broker:
        url = f"redis://127.0.0.1:{broker.getsockname()[1]}/0"
        ready = Api(reopen(CELERY_BROKER_URL=url), "").get("/readyz")
    assert (ready.status_code, ready.json["checks"]["broker"]) == (200, "ok")


def test_a_lost_broker_is_told_and_mail_is_taken_all_the_same(house, reopen):
    """F5"""
    ready = Api(reopen(CELERY_BROKER_URL="amqp://127.0.0.1:1//"), "").get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (200, "ok")
    assert ready.json["checks"]["broker"] == "unavailable"


def test_a_broker_whose_name_nobody_knows_does_not_answer():
    assert checks.answers("amqps://no-such-host.invalid") is False


def test_each_check_has_a_line(api):
    assert api.get("/readyz").json["checks"] == {
        "database": "ok",
        "migrations": "ok",
        "routes": "ok",
        "token_mail": "ok",
        "broker": "none",
        "limits": "ok",
        "mail": "capture",
    }


@pytest.mark.parametrize(
    ("version", "status", "word"), [("0001", 503, "behind"), (None, 503, "behind"), ("9999", 200, "ahead")]
)
def test_a_database_of_an_older_version_is_not_ready_and_one_of_a_newer_is(api, version, status, word):
    """F15"""
    [(before,)] = api.house.execute("SELECT version_num FROM alembic_version")
    api.house.execute("DELETE FROM alembic_version")
    if version:
        api.house.execute("INSERT INTO alembic_version VALUES (:version)", version=version)
    try:
        ready = api.get("/readyz")
    finally:
        api.house.execute("DELETE FROM alembic_version")
        api.house.execute("INSERT INTO alembic_version VALUES (:version)", version=before)
    assert (ready.status_code, ready.json["checks"]["migrations"]) == (status, word)


def test_an_empty_database_is_there_and_not_migrated(reopen, tmp_path):
    """F15"""
    ready = Api(reopen(database_url=f"sqlite:///{tmp_path / 'empty.db'}"), "").get("/readyz")
    assert ready.status_code == 503
    assert [ready.json["checks"][name] for name in ("database", "migrations", "routes")] == ["ok", "behind", "unknown"]


def test_late_token_mail_is_told_and_mail_is_taken_all_the_same(api):
    api.send(template="password-reset", variables=RESET["variables"])
    assert api.get("/readyz").json["checks"]["token_mail"] == "ok"
    api.house.execute("UPDATE messages SET due_at = '2026-01-01 00:00:00.000000'")
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["token_mail"]) == (200, "late")


def test_without_a_database_the_rest_is_told_or_unknown(house, reopen):
    """F4"""
    ready = Api(reopen(database_url="postgresql://nobody@127.0.0.1:1/nothing"), "").get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (503, "unavailable")
    words = {"migrations": "unknown", "routes": "unknown", "token_mail": "unknown", "limits": "ok", "mail": "capture"}
    assert ready.json["checks"] == {**words, "database": "unavailable", "broker": "none"}


@pytest.mark.parametrize("path", ["/readyz", "/inbox", "/inbox/list", "/inbox/messages"])
def test_whoever_only_reads_waits_for_no_writer(house, locked, path):
    assert Api(house, "").get(path).status_code == 200
