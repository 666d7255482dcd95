"""What all hosted pages have around them: each request counts against its network, and every error leaves as a page.

Knows no page's business.
"""

import json
from http import HTTPStatus

from flask import Blueprint, Response

from email_service.hosted_pages.drawing import Pages
from email_service.web import context, limits

_MINUTE_SECONDS = 60


def surround(blueprint: Blueprint) -> Blueprint:
    """Count and draw for every view of the blueprint."""
    blueprint.before_request(_admit)
    blueprint.after_request(_draw_problem)
    return blueprint


def pages() -> Pages:
    """The pages of the application that serves this request."""
    return context.part(Pages)


def _admit() -> None:
    """Count the request against its network's quota, before anything of it is read."""
    limits.count_stranger()


def _draw_problem(response: Response) -> Response:
    """`web/problems` knows what every error is; a reader gets it as a page, with the same status and headers."""
    if response.mimetype != "application/problem+json":
        return response
    is_ours = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    reason = "unavailable" if is_ours else json.loads(response.get_data())["code"]
    seconds = int(response.headers.get("Retry-After", "0"))
    page = pages().draw("problem", reason=reason, minutes=str(-(-seconds // _MINUTE_SECONDS)))
    response.set_data(page.get_data())
    response.headers.update(page.headers)
    return response
