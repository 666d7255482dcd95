"""The calls about messages. Each authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE

from email_service.idempotency.answers import answer_once
from email_service.messages import listing, schemas, service
from email_service.messages.models import Message
from email_service.messages.service import Intake
from email_service.messages.submission import Submission
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("messages", __name__, url_prefix="/v1/messages", description="Send mail and see what became of it.")
)
# Made once: a schema copies all its fields whenever it is made.
_ACCEPTED = schemas.MessageOut()


@blueprint.post("")
@auth.requires("messages:send")
@blueprint.arguments(schemas.MessageIn())
@blueprint.arguments(schemas.IdempotencyHeaderIn(), location="headers")
@blueprint.response(HTTPStatus.ACCEPTED, schemas.MessageOut)
def send(submission: Submission, headers: dict[str, Any]) -> Response:
    """Accept one message"""
    return answer_once(
        headers["key"],
        HTTPStatus.ACCEPTED,
        lambda session: _ACCEPTED.dump(
            service.accept(session, context.part(Intake), auth.caller().client_id, submission)
        ),
    )


@blueprint.get("")
@auth.requires("messages:read")
@blueprint.arguments(schemas.MessageFilterIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.MessageListOut)
def find(wanted: dict[str, Any]) -> listing.Page:
    """List messages, newest first"""
    with context.glance() as session:
        return listing.find_messages(session, auth.caller().client_id, listing.MessageFilter(**wanted))


@blueprint.get("/<uuid:message_id>")
@auth.requires("messages:read")
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
def get(message_id: UUID) -> Message:
    """One message with its delivery attempts"""
    with context.glance() as session:
        return service.get(session, auth.caller().client_id, message_id)


@blueprint.get("/<uuid:message_id>/events")
@auth.requires("messages:read")
@blueprint.arguments(schemas.PageIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.EventListOut)
def find_events(page: dict[str, Any], message_id: UUID) -> listing.Page:
    """The message's events, oldest first"""
    with context.glance() as session:
        message = service.get(session, auth.caller().client_id, message_id)
        return listing.find_events(session, message, page["limit"], page["cursor"])


@blueprint.post("/<uuid:message_id>/cancel")
@auth.requires("messages:send")
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
def cancel(message_id: UUID) -> Message:
    """Stop a message that has not begun to be sent"""
    with context.transaction() as session:
        return service.cancel(session, auth.caller().client_id, message_id)


@blueprint.post("/<uuid:message_id>/retry")
@auth.requires("messages:send")
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
def retry(message_id: UUID) -> Message:
    """Try a failed, bounced, uncertain or expired message again"""
    with context.transaction() as session:
        return service.retry(session, context.part(Intake), auth.caller().client_id, message_id)
