"""The calls about messages. Each authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

import structlog
from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE

from email_service.audit import callers
from email_service.idempotency import answers
from email_service.kernel.pages import Page
from email_service.messages import batch, batch_schemas, life, listing, reception, schemas, service
from email_service.messages.models import Message
from email_service.messages.reception import Letter
from email_service.messages.service import Intake
from email_service.messages.submission import Batch, Submission
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("messages", __name__, url_prefix="/v1/messages", description="Send mail and see what became of it.")
)


@blueprint.post("")
@auth.requires("messages:send", checks_key_itself=True)
@blueprint.arguments(schemas.MessageIn())
@blueprint.arguments(schemas.IdempotencyHeaderIn(), location="headers")
@blueprint.response(HTTPStatus.ACCEPTED, schemas.MessageOut)
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def send(submission: Submission, headers: dict[str, Any]) -> Response:
    """Accept one message"""
    letter = Letter(submission, auth.caller(), answers.scope_of(headers["key"]), callers.present())
    with context.single_write() as connection:
        receipt = reception.receive(connection, context.part(Intake), letter, schemas.tell_accepted)
        auth.note_live_key()
    structlog.contextvars.bind_contextvars(message_id=receipt.answer["id"])
    context.count(*receipt.tallies)
    if receipt.lanes:
        context.parts().wake(set(receipt.lanes))
    return answers.respond(receipt.answer, HTTPStatus.ACCEPTED, is_replayed=receipt.is_replayed)


@blueprint.post("/batch")
@auth.requires("messages:send")
@blueprint.arguments(batch_schemas.BatchIn())
@blueprint.arguments(schemas.IdempotencyHeaderIn(), location="headers")
@blueprint.response(HTTPStatus.OK, batch_schemas.BatchOut)
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def send_batch(wanted: Batch, headers: dict[str, Any]) -> Response:
    """Accept up to 500 messages"""
    intake, client_id, actor = context.part(Intake), auth.caller().client_id, callers.present()
    return answers.answer_once(
        headers["key"],
        HTTPStatus.OK,
        lambda session: batch_schemas.tell_batch(batch.accept(session, intake, client_id, wanted, actor)),
    )


@blueprint.get("")
@auth.requires("messages:read")
@blueprint.arguments(schemas.MessageFilterIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.MessageListOut)
def find(wanted: dict[str, Any]) -> Page:
    """List messages, newest first"""
    with context.glance() as session:
        return listing.find_messages(session, auth.caller().client_id, listing.MessageFilter(**wanted))


@blueprint.get("/<uuid:message_id>")
@auth.requires("messages:read")
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def get(message_id: UUID) -> Message:
    """One message with its delivery attempts"""
    with context.glance() as session:
        return service.get(session, auth.caller().client_id, message_id)


@blueprint.get("/<uuid:message_id>/events")
@auth.requires("messages:read")
@blueprint.arguments(schemas.PageIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.EventListOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def find_events(page: dict[str, Any], message_id: UUID) -> Page:
    """The message's events, oldest first"""
    with context.glance() as session:
        message = service.get(session, auth.caller().client_id, message_id)
        return listing.find_events(session, message, page["limit"], page["cursor"])


@blueprint.post("/<uuid:message_id>/cancel")
@auth.requires("messages:send")
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def cancel(message_id: UUID) -> Message:
    """Stop a message that has not begun to be sent"""
    with context.transaction() as session:
        return life.cancel(session, auth.caller().client_id, message_id)


@blueprint.patch("/<uuid:message_id>")
@auth.requires("messages:send")
@blueprint.arguments(schemas.RescheduleIn())
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def reschedule(wanted: dict[str, Any], message_id: UUID) -> Message:
    """Give a message that waits other times"""
    with context.transaction() as session:
        return life.reschedule(session, auth.caller().client_id, message_id, wanted)


@blueprint.post("/<uuid:message_id>/retry")
@auth.requires("messages:send")
@blueprint.response(HTTPStatus.OK, schemas.MessageDetailOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def retry(message_id: UUID) -> Message:
    """Try a failed, bounced, uncertain or expired message again"""
    intake = context.part(Intake)
    terms = life.Terms(catalog=intake.catalog, actor=callers.present(), is_mail_off=intake.is_mail_off)
    with context.transaction() as session:
        return life.retry(session, auth.caller().client_id, message_id, terms)
