"""The inbox over HTTP: a page for people, JSON for tests. Mail is hostile: it is escaped, or shown in a sandboxed frame
that runs nothing and loads nothing but images. The composition root registers this only while mail is captured.
"""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, make_response, render_template, request
from sqlalchemy.orm import Session, sessionmaker

from email_service.inbox import schemas, service
from email_service.settings import resource
from email_service.web import context

_LISTED = 100
_SHOWN_CHARACTERS = 200_000  # of a source on the page; `/source` has all of it

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; frame-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The frame's own `sandbox` attribute and this one add up; this one also holds when the address is opened by itself.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data: cid: https:; frame-ancestors 'self'"
)
_SOURCE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"

blueprint = Blueprint(
    "inbox",
    __name__,
    url_prefix="/inbox",
    template_folder=str(resource("templates")),
    static_folder="static",
    static_url_path="/static",
)


@blueprint.get("")
def page() -> Response:
    """The list of mails, and the chosen one beside it."""
    query = schemas.read_query(schemas.PageIn(), request.args)
    with _sessions()() as session:
        mails = service.headlines(session, query["to"], _LISTED)
        shown = _shown(session, query)
    is_gone = query["mail"] is not None and not shown
    status = HTTPStatus.NOT_FOUND if is_gone else HTTPStatus.OK
    return make_response(render_template("pages/inbox.html", mails=mails, query=query, **shown), status)


@blueprint.get("/list")
def mail_list() -> Response:
    """Only the list, for the page to renew it."""
    query = schemas.read_query(schemas.PageIn(), request.args)
    with _sessions()() as session:
        mails = service.headlines(session, query["to"], _LISTED)
    return make_response(render_template("pages/inbox_list.html", mails=mails, query=query))


@blueprint.get("/messages")
def messages() -> Response:
    """The newest mails as JSON, waiting for the first if asked to."""
    query = schemas.read_query(schemas.WaitIn(), request.args)
    wait_seconds = min(query["wait_seconds"], schemas.LONGEST_WAIT_SECONDS)
    mails = service.wait_for(_sessions(), query["to"], _LISTED, wait_seconds)
    return jsonify(data=schemas.CapturedMailOut(many=True).dump(mails))


@blueprint.get("/messages/<uuid:mail_id>/html")
def html(mail_id: UUID) -> Response:
    """The html part as a document of its own, for the sandboxed frame."""
    with _sessions()() as session:
        mail = service.get(session, mail_id)
    # The frame may show nothing but this, so links open in a new tab. A second doctype is ignored (HTML 13.2.6.4.4).
    response = make_response(f'<!doctype html><base target="_blank">{mail.html}')
    response.headers["Content-Security-Policy"] = _MAIL_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


@blueprint.get("/messages/<uuid:mail_id>/source")
def source(mail_id: UUID) -> Response:
    """The exact bytes, shown and not downloaded."""
    with _sessions()() as session:
        content = service.get(session, mail_id, is_source_wanted=True).source
    response = Response(content, content_type="text/plain; charset=utf-8")
    response.headers["Content-Security-Policy"] = _SOURCE_POLICY
    return response


@blueprint.after_request
def protect(response: Response) -> Response:
    """Hold each page to what it shows; the headers that every answer gets are the application's."""
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    return response


def _sessions() -> sessionmaker[Session]:
    # Whoever only reads must not take SQLite's write lock.
    return context.parts().glances


def _shown(session: Session, query: dict[str, Any]) -> dict[str, Any]:
    """What the page needs of the chosen mail; empty when none was chosen, or it is gone."""
    mail = service.find(session, query["mail"], is_source_wanted=query["view"] == "source")
    if mail is None:
        return {}
    view = query["view"] or ("html" if mail.html else "text")
    whole = mail.source.decode("utf-8", "replace") if view == "source" else ""
    return {
        "mail": mail,
        "view": view,
        "source": whole[:_SHOWN_CHARACTERS],
        "is_cut": len(whole) > _SHOWN_CHARACTERS,
        "links": service.links_of(mail),
        "codes": service.codes_of(mail),
    }
