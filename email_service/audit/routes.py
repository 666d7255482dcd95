"""The call that reads the audit. It authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any

from flask_smorest import Blueprint
from marshmallow import RAISE

from email_service.audit import listing, schemas
from email_service.kernel.pages import Page
from email_service.web import auth, context

blueprint = auth.protect(Blueprint("audit", __name__, url_prefix="/v1/audit", description="Who did what."))


@blueprint.get("")
@auth.requires("audit:read")
@blueprint.arguments(schemas.AuditFilterIn, location="query", unknown=RAISE)
@blueprint.response(HTTPStatus.OK, schemas.AuditListOut)
def find(wanted: dict[str, Any]) -> Page:
    """List what was done, newest first"""
    with context.glance() as session:
        return listing.find_events(session, listing.AuditFilter(**wanted))
