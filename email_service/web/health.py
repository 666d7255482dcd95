"""Whether this instance is alive, and whether it is ready to take mail. Served to everybody, so it tells no secrets."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from email_service.extensions import limiter
from email_service.settings import Settings
from email_service.web import context

_BROKER_SECONDS = 1.0
_BROKER_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}

blueprint = Blueprint("health", __name__)


@dataclass(frozen=True)
class Probes:
    """What only others know how to find out; the composition root makes it known."""

    oldest_due_seconds: Callable[[Session], dict[str, float | None]]  # by lane; null: nothing waits there
    due_counts: Callable[[Session], dict[str, int]]  # by lane
    routes: Sequence[str]  # the names of the mail routes
    outages: Callable[[Session], dict[str, str]]  # the mail routes that are down, and for how long
    broker_answers: Callable[[], bool] | None = None  # null: there is no broker, delivery is in this process


def answers(url: str) -> bool:
    """Whether somebody takes a connection where this broker URL points; waits for a second at most."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or _BROKER_PORTS.get(parts.scheme, 0))
    try:
        socket.create_connection(address, _BROKER_SECONDS).close()
    except OSError:
        return False
    return True


@blueprint.get("/healthz")
def is_alive() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def is_ready() -> Response:
    """Each thing that taking mail depends on, with 503 while one of them is missing."""
    database, oldest_due_seconds, outages = _database()
    # Without the limits' store, the broker or a route, mail is taken all the same: counted here, found by the sweep,
    # sent when the route is up.
    checks = {
        "database": database,
        "broker": _broker(),
        "limits": _limits(),
        "mail": context.part(Settings).mail_mode.value,
        "routes": outages or "ok",
    }
    is_well = database == "ok"
    status = "ok" if is_well else "unavailable"
    oldest = max((each for each in oldest_due_seconds.values() if each is not None), default=None)
    response = jsonify(
        status=status, checks=checks, oldest_due_seconds=oldest, oldest_due_seconds_by_lane=oldest_due_seconds
    )
    response.status_code = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return response


def _database() -> tuple[str, dict[str, float | None], dict[str, str]]:
    try:
        with context.parts().glances() as session:
            session.execute(text("SELECT 1 FROM alembic_version"))
            probes = context.part(Probes)
            return "ok", probes.oldest_due_seconds(session), probes.outages(session)
    except SQLAlchemyError:
        return "unavailable", {}, {}


def _broker() -> str:
    probe = context.part(Probes).broker_answers
    if probe is None:
        return "none"
    return "ok" if probe() else "unavailable"


def _limits() -> str:
    # Without its store the limiter counts in this process alone: stricter bookkeeping is lost, the service is not.
    storage = limiter.storage
    return "ok" if storage.check() else "local"
