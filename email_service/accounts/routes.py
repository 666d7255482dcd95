"""The calls about accounts. Each authenticates, validates, calls one service function and serialises."""

from http import HTTPStatus
from typing import Any

from flask_smorest import Blueprint

from email_service.accounts import schemas, service
from email_service.accounts.models import Account
from email_service.accounts.service import Followers, Profile
from email_service.audit import callers
from email_service.web import auth, context
from email_service.web.fields import SUBJECT_STEP

blueprint = auth.protect(
    Blueprint("accounts", __name__, url_prefix="/v1/accounts", description="Who exists in the main app.")
)


# A subject is the main app's own id, and may hold a slash.
@blueprint.put("/<path:subject>", parameters=[SUBJECT_STEP])
@auth.requires("accounts:write")
@blueprint.arguments(schemas.AccountIn())
@blueprint.response(HTTPStatus.OK, schemas.AccountOut)
@blueprint.alt_response(HTTPStatus.CREATED, schema=schemas.AccountOut)
@blueprint.alt_response(HTTPStatus.CONFLICT, "CONFLICT")
def put(profile: Profile, subject: str) -> tuple[Account, HTTPStatus]:
    """Tell the service of an account, or of its changes"""
    with context.transaction() as session:
        account, is_new = service.put(session, context.part(Followers), subject, profile, callers.present())
    return account, HTTPStatus.CREATED if is_new else HTTPStatus.OK


@blueprint.get("/<path:subject>", parameters=[SUBJECT_STEP])
@auth.requires("accounts:write")
@blueprint.response(HTTPStatus.OK, schemas.AccountOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNPROCESSABLE_ENTITY.name)
def get(subject: str) -> Account:
    """One account"""
    with context.glance() as session:
        return service.get(session, subject)


@blueprint.delete("/<path:subject>", parameters=[SUBJECT_STEP])
@auth.requires("accounts:write")
@blueprint.response(HTTPStatus.OK, schemas.ErasedOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
@blueprint.alt_response(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNPROCESSABLE_ENTITY.name)
def erase(subject: str) -> dict[str, Any]:
    """Forget an account and all that points to it"""
    with context.transaction() as session:
        return {
            "subject": subject,
            "erased": service.erase(session, context.part(Followers), subject, callers.present()),
        }
