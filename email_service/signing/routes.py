"""The public halves of the signing keys, for everybody (RFC 7517 5)."""

from flask import Blueprint, Response, jsonify

from email_service.signing import service
from email_service.web import context, limits

blueprint = Blueprint("signing", __name__)
blueprint.before_request(limits.count_stranger)


@blueprint.get("/.well-known/jwks.json")
def tell_keys() -> Response:
    """The keys that verify what this service signed, signs, and will sign next."""
    context.part(service.Signer).prepare()
    with context.glance() as session:
        response: Response = jsonify(keys=service.published(session))
    response.headers["Cache-Control"] = f"public, max-age={service.JWKS_SECONDS}"
    return response
