"""Draws a hosted page in the reader's language, under a policy that lets nothing load and no other site be sent to.

Knows the layout, the style and the words; what is shown, and why, is the routes' business.
"""

import base64
import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Response, request, url_for
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.http import parse_accept_header

from email_service.hosted_pages import wording
from email_service.kernel import locales


class Pages:
    """The pages of one application; made once, at its start."""

    def __init__(self, folder: Path, brand: str, support_email: str | None) -> None:
        style = (folder / "style.css").read_text(encoding="utf-8")
        self._policy = _policy(style)
        self._words = wording.load(folder, brand)
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "url_for": url_for,
            "style": Markup(style),  # noqa: S704 - our own file, and CSS must not be escaped
            "brand": brand,
            "support_email": support_email,
        }

    def draw(self, name: str, status: int = HTTPStatus.OK, **shown: Any) -> Response:
        """The page with the template `name`; `about`, if given, names the words it has besides."""
        locale = locales.choose(_wanted_languages(), self._words)
        words = self._words[locale]
        content = self._environment.get_template(f"{name}.html").render(
            **{"error": None, "fields": {}, **shown}, locale=locale, words=words[name], shared=words["shared"]
        )
        response = Response(content, status, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = self._policy
        response.content_language.add(locale)
        response.vary.add("Accept-Language")
        return response


def _wanted_languages() -> list[str]:
    """What the reader's browser asks for, best first; `*` and what it refuses are no wish."""
    ranges = parse_accept_header(request.headers.get("Accept-Language"))
    return [language for language, quality in ranges if quality > 0 and language != "*"]


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
