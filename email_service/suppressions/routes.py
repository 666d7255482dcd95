"""The calls about suppressions. Each authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any

from flask_smorest import Blueprint
from marshmallow import RAISE

from email_service.audit import callers
from email_service.kernel.pages import Page
from email_service.rendering.catalog import Catalog
from email_service.suppressions import listing, schemas, service
from email_service.suppressions.models import Reason, Suppression
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("suppressions", __name__, url_prefix="/v1/suppressions", description="Addresses that must not be mailed.")
)


@blueprint.get("")
@auth.requires("suppressions:read")
@blueprint.arguments(schemas.SuppressionFilterIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.SuppressionListOut)
def find(wanted: dict[str, Any]) -> Page:
    """List suppressed addresses, newest first"""
    with context.glance() as session:
        return listing.find_suppressions(session, listing.SuppressionFilter(**wanted))


# A local part may hold a slash (RFC 5321 4.1.2), and a server decodes %2F before it looks for the route.
@blueprint.get("/<path:email>")
@auth.requires("suppressions:read")
@blueprint.arguments(schemas.SuppressionWhichIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.SuppressionOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def get(which: dict[str, Any], email: str) -> Suppression:
    """Why an address must not be mailed"""
    with context.glance() as session:
        return service.get(session, email, which["category"])


@blueprint.put("/<path:email>")
@auth.requires("suppressions:write")
@blueprint.arguments(schemas.SuppressionIn)
@blueprint.response(HTTPStatus.OK, schemas.SuppressionOut)
@blueprint.alt_response(HTTPStatus.CREATED, schema=schemas.SuppressionOut)
def put(given: dict[str, Any], email: str) -> tuple[Suppression, HTTPStatus]:
    """Make sure that an address is not mailed"""
    reason = given["reason"] and Reason(given["reason"])
    category = context.part(Catalog).check_category(given["category"])
    with context.transaction() as session:
        suppression, is_new = service.put(session, email, category, reason, callers.present())
    return suppression, HTTPStatus.CREATED if is_new else HTTPStatus.OK


@blueprint.delete("/<path:email>")
@auth.requires("suppressions:write")
@blueprint.arguments(schemas.SuppressionWhichIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.NO_CONTENT)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def remove(which: dict[str, Any], email: str) -> None:
    """Let an address be mailed again"""
    with context.transaction() as session:
        service.remove(session, email, which["category"], callers.present())
