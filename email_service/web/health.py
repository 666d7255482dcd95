"""Whether this instance is alive, and whether it is ready to take mail. Served to everybody, so it tells no secrets."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from email_service.settings import Settings
from email_service.web import checks, context
from email_service.web.checks import Probes

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def is_alive() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def is_ready() -> Response:
    """Each thing that taking and sending mail depends on, with 503 while it cannot be taken."""
    found = checks.look(context.part(Settings), context.parts().glances, context.part(Probes))
    ages = found.oldest_due_seconds
    response = jsonify(
        status="ok" if found.is_ready else "unavailable",
        checks={each.name: each.word for each in found.findings},
        oldest_due_seconds=max((each for each in ages.values() if each is not None), default=None),
        oldest_due_seconds_by_lane=ages,
    )
    response.status_code = HTTPStatus.OK if found.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return response
