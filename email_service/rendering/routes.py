"""The calls about templates: what there is, and how it looks with given variables."""

from http import HTTPStatus
from typing import Any

from flask_smorest import Blueprint

from email_service.kernel.errors import NotFoundError, TemplateUnknownError
from email_service.rendering import schemas
from email_service.rendering.catalog import Catalog, Template
from email_service.rendering.renderer import Rendered, Renderer
from email_service.web import auth, context

blueprint = auth.protect(
    Blueprint("templates", __name__, url_prefix="/v1/templates", description="What messages are made from.")
)


@blueprint.get("")
@auth.requires("templates:read")
@blueprint.response(HTTPStatus.OK, schemas.TemplateListOut)
def find() -> dict[str, Any]:
    """List the templates"""
    return {"data": list(context.part(Catalog)), "next_cursor": None}


@blueprint.get("/<name>")
@auth.requires("templates:read")
@blueprint.response(HTTPStatus.OK, schemas.TemplateOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def get(name: str) -> Template:
    """One template with the schema of its variables"""
    return _named(name)


@blueprint.post("/<name>/render")
@auth.requires("templates:read")
@blueprint.arguments(schemas.RenderIn)
@blueprint.response(HTTPStatus.OK, schemas.RenderedOut)
@blueprint.alt_response(HTTPStatus.NOT_FOUND, "NOT_FOUND")
def render(body: dict[str, Any], name: str) -> Rendered:
    """Render a template without sending anything"""
    _named(name).check_variables(body["variables"])
    return context.part(Renderer).render(name, body["variables"], body["locale"])


def _named(name: str) -> Template:
    try:
        return context.part(Catalog).get(name)
    except TemplateUnknownError as error:
        # In a body the name is a wrong value (422); in a path it is a place where there is nothing (404).
        raise NotFoundError(error.detail) from None
