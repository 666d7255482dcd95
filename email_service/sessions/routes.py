"""The internal calls about sessions. Each authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any

from flask_smorest import Blueprint
from marshmallow import RAISE

from email_service.audit import callers
from email_service.kernel.pages import Page
from email_service.sessions import schemas, service
from email_service.sessions.service import Desk, Order, Pair
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("sessions", __name__, url_prefix="/v1/sessions", description="Access tokens and refresh tokens.")
)


@blueprint.post("")
@auth.requires("sessions:issue")
@blueprint.arguments(schemas.SessionIn())
@blueprint.response(HTTPStatus.CREATED, schemas.StartedOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def start(wanted: dict[str, Any]) -> Pair:
    """Start a session for a subject who has signed in"""
    desk, order = context.part(Desk), Order(client_id=auth.caller().client_id, **wanted)
    desk.signer.prepare()
    with context.transaction() as session:
        return service.start(session, desk, order, callers.present())


@blueprint.get("")
@auth.requires("sessions:issue")
@blueprint.arguments(schemas.SessionFilterIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.SessionListOut)
def find(wanted: dict[str, Any]) -> Page:
    """List a subject's live sessions, newest first"""
    with context.glance() as session:
        return service.find(session, **wanted)


@blueprint.delete("")
@auth.requires("sessions:issue")
@blueprint.arguments(schemas.SubjectIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.EndedOut)
def revoke(wanted: dict[str, Any]) -> dict[str, int]:
    """Sign a subject out everywhere"""
    with context.transaction() as session:
        return {"revoked": service.revoke_all(session, wanted["subject"], callers.present())}
