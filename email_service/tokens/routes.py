"""The internal calls about tokens. Each authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE
from sqlalchemy.orm import Session

from email_service.audit import callers
from email_service.idempotency import answers
from email_service.messages.schemas import IdempotencyHeaderIn
from email_service.tokens import redemption, schemas, service, transactions
from email_service.tokens.redemption import Presented
from email_service.tokens.service import Office, Order
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("tokens", __name__, url_prefix="/v1/tokens", description="Single-use links and codes.")
)


@blueprint.post("")
@auth.requires("tokens:issue")
@blueprint.arguments(schemas.TokenIn())
@blueprint.arguments(IdempotencyHeaderIn(), location="headers")
@blueprint.response(HTTPStatus.CREATED, schemas.TokenIssuedOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def issue(wanted: dict[str, Any], headers: dict[str, Any]) -> Response:
    """Issue a token and mail it, or hand it over"""
    order, actor = Order(client_id=auth.caller().client_id, **wanted), callers.present()

    def hand_over(session: Session, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | service.secret_of(session, office, UUID(answer["id"]))

    with transactions.refused_issues_counted(order.purpose):
        office = context.part(Office).ask(subject=order.subject)
        return answers.answer_once(
            headers["key"],
            HTTPStatus.CREATED,
            lambda session: schemas.tell_issued(service.issue(session, office, order, actor)),
            None if order.is_delivered else hand_over,
        )


@blueprint.post("/verify")
@auth.requires("tokens:verify", checks_key_itself=True)
@blueprint.arguments(schemas.LinkIn())
@blueprint.response(HTTPStatus.OK, schemas.TokenOut)
@blueprint.alt_response(HTTPStatus.BAD_REQUEST, "BAD_REQUEST")
def verify(presented: Presented) -> Any:
    """Look at a token without redeeming it"""
    with context.look() as connection:
        found = redemption.find(connection, presented, auth.caller().key_id)
    auth.note_live_key()
    return found


@blueprint.post("/consume")
@auth.requires("tokens:verify", checks_key_itself=True)
@blueprint.arguments(schemas.RedemptionIn())
@blueprint.arguments(IdempotencyHeaderIn(), location="headers")
@blueprint.response(HTTPStatus.OK, schemas.RedeemedOut)
@blueprint.alt_response(HTTPStatus.BAD_REQUEST, "BAD_REQUEST")
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def consume(presented: Presented, headers: dict[str, Any]) -> Response:
    """Redeem a token or a code exactly once"""
    actor, key_id = callers.present(), auth.caller().key_id
    if headers["key"] is None:
        redeemed = transactions.redeem(presented, actor, key_id=key_id)
        auth.note_live_key()
        return answers.respond(schemas.tell_redeemed(redeemed.row), HTTPStatus.OK)
    evidence, office = transactions.weigh(presented, actor, key_id)
    with transactions.refusals_noted(evidence, actor):
        return answers.answer_once(
            headers["key"],
            HTTPStatus.OK,
            lambda session: schemas.tell_redeemed(redemption.redeem_and_tell(session, office, evidence, actor).row),
        )


@blueprint.delete("")
@auth.requires("tokens:issue")
@blueprint.arguments(schemas.TokenFilterIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.RevokedOut)
def revoke(wanted: dict[str, Any]) -> dict[str, int]:
    """Revoke a subject's live tokens"""
    with context.transaction() as session:
        return {"revoked": service.revoke(session, wanted["subject"], wanted["purpose"], callers.present())}
