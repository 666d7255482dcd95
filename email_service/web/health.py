"""Whether this instance is alive, and whether it is ready to take mail. Served to everybody, so it tells no secrets."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from email_service.extensions import limiter
from email_service.settings import Settings
from email_service.web import context

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def is_alive() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def is_ready() -> Response:
    """Each thing that taking mail depends on, with 503 while one of them is missing."""
    checks = {"database": _database(), "limits": _limits(), "mail": context.part(Settings).mail_mode.value}
    is_well = "unavailable" not in checks.values()
    response = jsonify(status="ok" if is_well else "unavailable", checks=checks)
    response.status_code = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return response


def _database() -> str:
    try:
        context.session().execute(text("SELECT 1 FROM alembic_version"))
    except SQLAlchemyError:
        return "unavailable"
    return "ok"


def _limits() -> str:
    # Without its store the limiter counts in this process alone: stricter bookkeeping is lost, the service is not.
    storage = limiter.storage
    return "ok" if storage.check() else "local"
