"""Serves the documentation page and the viewer that draws it; nothing is fetched from another host."""

from flask import Blueprint, Response, make_response, render_template

from email_service.settings import resource

# The viewer writes style attributes and style elements into its templates; scripts get no such freedom.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint(
    "docs_page",
    __name__,
    url_prefix="/docs",
    template_folder=str(resource("templates")),
    static_folder="assets",
    static_url_path="/assets",
)


@blueprint.get("")
def page() -> Response:
    """The page; the viewer then reads `/openapi.json`."""
    return make_response(render_template("pages/docs.html"))


@blueprint.after_request
def protect(response: Response) -> Response:
    """Hold the page to what the viewer needs, and no other page to it."""
    response.headers["Content-Security-Policy"] = _POLICY
    return response
