"""The gallery over HTTP, for one author on this machine: a page, what it asks for, and one call that sends a mail.

Answers under its own addresses only, so that no other site's page can ask it by a name that leads here (DNS rebinding),
and sends only for its own page. Mail is hostile: it is shown as text, or in a sandboxed frame that runs nothing.
"""

import hmac
import json
import secrets
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, abort, jsonify, make_response, render_template, request
from flask.json.provider import DefaultJSONProvider

from email_service.authoring.samples import SAMPLE, find_cases
from email_service.authoring.themes import Theme
from email_service.gallery.post import Post
from email_service.gallery.workshop import LOOK_SECONDS, View, Workshop, describe
from email_service.kernel.errors import InvalidInputError, ServiceError
from email_service.kernel.locales import BASE_LOCALE
from email_service.settings import resource

_MOST_BYTES = 1024**2
_STILL_THERE_LOOKS = 40  # after so many without news, the page's connection is tried
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
# A document in `srcdoc` would be held to the page's own policy, which lets no style of a mail through.
_FRAME_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src https: data:; frame-ancestors 'self'"
)


def create_gallery(workshop: Workshop, post: Post, port: int) -> Flask:
    """The WSGI application of the gallery that listens on this port of the loopback."""
    app = Flask(__name__, template_folder=str(resource("templates") / "pages"))
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BYTES
    app.json = DefaultJSONProvider(app)
    app.json.sort_keys = False  # samples are shown in their author's order
    gallery = _Gallery(workshop, post, port)
    app.before_request(gallery.guard)
    app.after_request(_harden)
    app.register_error_handler(ServiceError, _answer_error)
    app.add_url_rule("/", view_func=gallery.page)
    app.add_url_rule("/templates", view_func=gallery.templates)
    app.add_url_rule("/findings/<name>", view_func=gallery.findings)
    app.add_url_rule("/changes", view_func=gallery.changes)
    app.add_url_rule("/frames/<name>", view_func=gallery.frame)
    app.add_url_rule("/render", view_func=gallery.render, methods=["POST"])
    app.add_url_rule("/send", view_func=gallery.send, methods=["POST"])
    return app


class _Gallery:
    def __init__(self, workshop: Workshop, post: Post, port: int) -> None:
        self._workshop = workshop
        self._post = post
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._token = secrets.token_urlsafe(32)

    def guard(self) -> None:
        """Let nobody in but the page itself (T17)."""
        if request.headers.getlist("Host") != [request.headers.get("Host")] or request.host not in self._hosts:
            abort(HTTPStatus.MISDIRECTED_REQUEST, "This page answers under its own address only.")
        if request.method == "POST":
            origin = request.headers.get("Origin")
            is_ours = origin is None or origin in {f"http://{host}" for host in self._hosts}
            given = request.headers.get("X-CSRF-Token", "")
            if not is_ours or not hmac.compare_digest(given.encode(), self._token.encode()):
                abort(HTTPStatus.FORBIDDEN, "Only the gallery's own page may do this; reload it.")

    def page(self) -> str:
        return render_template("gallery.html", token=self._token, way=self._post.way)

    def templates(self) -> Response:
        """The list at the left, and what keeps it from being used."""
        shelf = self._workshop.shelf()
        if shelf.bench is None:
            return jsonify(state=shelf.state, problems=shelf.problems, templates=[])
        bench = shelf.bench
        listed = [
            {
                "name": each.name,
                "description": each.description,
                "lane": each.lane,
                "origin": bench.files.origin(each.name),
                "locales": each.locales,
                "cases": find_cases(each),
            }
            for each in bench.templates
        ]
        return jsonify(state=shelf.state, problems=[], templates=listed, brand=bench.brand.as_variables())

    def findings(self, name: str) -> Response:
        return jsonify(findings=self._workshop.findings(name))

    def render(self) -> Response:
        view = _read_view(_read_body())
        rendered = self._workshop.render(view)
        return jsonify(**describe(rendered), frame=self._workshop.keep(rendered.html, view.theme))

    def frame(self, name: str) -> Response:
        # Links open in a new tab, as the frame may show nothing but this mail. A second doctype is ignored.
        response = make_response(f'<!doctype html><base target="_blank">{self._workshop.frame(name)}')
        response.headers["Content-Security-Policy"] = _FRAME_POLICY
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
        return response

    def send(self) -> Response:
        body = _read_body()
        view = _read_view(body)
        rendered = self._workshop.render(view)
        is_taken, sentence = self._post.send(rendered, _text(body, "to") or "", self._workshop.lane(view.template))
        return make_response(jsonify(detail=sentence), HTTPStatus.OK if is_taken else HTTPStatus.BAD_GATEWAY)

    def changes(self) -> Response:
        """Server-sent events: the state of the files, once now and then each time that one was saved."""
        return Response(self._tell_changes(), content_type="text/event-stream")

    def _tell_changes(self) -> Iterator[str]:
        known, looks = "", 0
        while True:
            state = self._workshop.state()
            if state != known:
                known, looks = state, 0
                yield f"data: {state}\n\n"
            elif looks >= _STILL_THERE_LOOKS:
                looks = 0
                yield ": still there\n\n"
            looks += 1
            time.sleep(LOOK_SECONDS)


def _read_body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise InvalidInputError("Send one JSON object.")
    return body


def _read_view(body: dict[str, Any]) -> View:
    variables, theme = body.get("variables"), _text(body, "theme") or Theme.LIGHT
    if theme not in set(Theme):
        raise InvalidInputError(f"A theme is one of {', '.join(Theme)}.")
    return View(
        template=_text(body, "template") or "",
        locale=_text(body, "locale") or BASE_LOCALE,
        theme=Theme(theme),
        case=_text(body, "case") or SAMPLE,
        variables=variables if isinstance(variables, dict) else None,
    )


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"{name} has to be text.")
    return value


def _answer_error(error: ServiceError) -> Response:
    errors = [{"pointer": each.pointer, "message": each.message} for each in error.faults]
    return Response(
        json.dumps({"detail": error.detail, "errors": errors}), error.status, content_type="application/problem+json"
    )


def _harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
