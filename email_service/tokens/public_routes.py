"""The calls about tokens that anybody may make. None of them tells whether an account exists; none works by GET."""

from http import HTTPStatus
from typing import Any

from flask import after_this_request
from flask_smorest import Blueprint

from email_service.audit import callers
from email_service.idempotency import answers
from email_service.messages.schemas import IdempotencyHeaderIn
from email_service.settings import Settings
from email_service.signing.service import Signer
from email_service.tokens import public_schemas, redemption, schemas, transactions
from email_service.tokens.purposes import Purpose
from email_service.tokens.redemption import Presented
from email_service.tokens.requests import Wish
from email_service.tokens.service import Office
from email_service.web import context, public_limits

blueprint = public_limits.guard_public(
    Blueprint(
        "public_tokens", __name__, url_prefix="/public/v1/tokens", description="Links and codes, for everybody's use."
    )
)


@blueprint.post("")
@public_limits.counts_later
@blueprint.arguments(public_schemas.MailWishIn())
@blueprint.response(HTTPStatus.ACCEPTED, public_schemas.PromiseOut)
@blueprint.alt_response(
    HTTPStatus.TOO_MANY_REQUESTS, schema=public_schemas.TooManyWishesOut, content_type="application/problem+json"
)
def ask(wanted: dict[str, Any]) -> dict[str, Any]:
    """Ask for a mail with a link or a code"""
    purpose = Purpose(wanted["purpose"])
    wish = Wish.of(callers.stranger(), **{**wanted, "purpose": purpose})
    promise = public_schemas.promise(context.part(Office).terms[purpose].ttl_seconds)
    has_place = public_limits.take_place(wish.email, {**promise, "rate_limited": True})
    transactions.ask(wish, has_place=has_place)
    return promise


@blueprint.post("/verify")
@blueprint.arguments(schemas.LinkIn())
@blueprint.response(HTTPStatus.OK, public_schemas.ValidOut)
@blueprint.alt_response(HTTPStatus.BAD_REQUEST, "BAD_REQUEST")
@blueprint.alt_response(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS")
@public_limits.redeems
def verify(presented: Presented) -> Any:
    """Look at a token without redeeming it"""
    with context.look() as connection:
        return redemption.find(connection, presented)


@blueprint.post("/consume")
@blueprint.arguments(schemas.RedemptionIn())
@blueprint.arguments(IdempotencyHeaderIn(), location="headers")
@blueprint.response(HTTPStatus.OK, public_schemas.AssertionOut)
@blueprint.alt_response(HTTPStatus.BAD_REQUEST, "BAD_REQUEST")
@blueprint.alt_response(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS")
@public_limits.redeems
def consume(presented: Presented, headers: dict[str, Any]) -> dict[str, Any]:
    """Redeem a token or a code exactly once

    Whoever sends a token again with the same Idempotency-Key within ten minutes gets the answer again.
    """
    signer, settings = context.part(Signer), context.part(Settings)
    signer.prepare()
    redeemed = transactions.redeem(presented, callers.stranger(), repeat_key=headers["key"])
    if redeemed.is_repeated:
        after_this_request(answers.mark)
    return public_schemas.tell_redeemed(redeemed.row, settings.token_audience or settings.token_issuer, signer.sign)
