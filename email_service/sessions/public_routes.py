"""The calls about sessions that anybody may make who holds a refresh token; they need no API key."""

from http import HTTPStatus
from typing import Any

from flask_smorest import Blueprint

from email_service.audit import callers
from email_service.sessions import rotation, schemas, service
from email_service.sessions.service import Desk, Pair
from email_service.web import context, public_limits

blueprint = public_limits.guard_public(
    Blueprint(
        "public_sessions",
        __name__,
        url_prefix="/public/v1/sessions",
        description="Access tokens and refresh tokens, for whoever holds one.",
    )
)


@blueprint.post("/refresh")
@blueprint.arguments(schemas.RefreshIn())
@blueprint.response(HTTPStatus.OK, schemas.PairOut)
@blueprint.alt_response(HTTPStatus.BAD_REQUEST, "BAD_REQUEST")
@blueprint.alt_response(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS")
def refresh(presented: dict[str, Any]) -> Pair:
    """Replace a refresh token by the next one, with a new access token"""
    desk = context.part(Desk)
    desk.signer.prepare()
    with context.look() as connection:
        pair = rotation.refresh_at_once(connection, desk, presented["refresh_token"])
    if pair is not None:
        return pair
    with context.transaction() as session:
        outcome = rotation.refresh(session, desk, presented["refresh_token"], callers.stranger())
    # A family that was ended stays ended, although the answer is an error.
    return rotation.granted(outcome)


@blueprint.post("/revoke")
@blueprint.arguments(schemas.RefreshIn())
@blueprint.response(HTTPStatus.OK, schemas.NothingOut)
@blueprint.alt_response(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS")
def revoke(presented: dict[str, Any]) -> dict[str, Any]:
    """End the session of a refresh token, whether or not it is live"""
    with context.transaction() as session:
        service.revoke(session, presented["refresh_token"], callers.stranger())
    return {}
