"""The call that explains a message. It stands here because only delivery knows the ways out and what blocks them."""

from http import HTTPStatus
from uuid import UUID

from flask_smorest import Blueprint

from email_service.delivery import circumstances, schemas
from email_service.delivery.circumstances import Explained, Ways
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("explanations", __name__, url_prefix="/v1/messages", description="Why a message has not arrived.")
)


@blueprint.get("/<uuid:message_id>/explain")
@auth.requires("messages:read")
@blueprint.response(HTTPStatus.OK, schemas.ExplanationOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def explain(message_id: UUID) -> Explained:
    """Why a message has not arrived yet"""
    with context.glance() as session:
        return circumstances.explain(session, context.part(Ways), auth.caller().client_id, message_id)
