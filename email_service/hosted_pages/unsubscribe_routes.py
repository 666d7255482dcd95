"""The pages behind an unsubscribe link, and the one click of a mail program (RFC 8058). GET and HEAD change nothing.

The link itself says who comes and about which mail; there is no cookie and nothing to log in to.
"""

from http import HTTPStatus

from flask import Blueprint, Response, request

from email_service.audit import callers
from email_service.hosted_pages import forms
from email_service.hosted_pages.surroundings import pages, surround
from email_service.kernel.addresses import mask
from email_service.kernel.categories import OPTIONAL
from email_service.kernel.errors import BadRequestError, TokenInvalidError
from email_service.rendering.catalog import Catalog
from email_service.suppressions import preferences
from email_service.suppressions.links import Links, Reader
from email_service.suppressions.preferences import Preferences
from email_service.web import context

UNSUBSCRIBE, PREFERENCES = "/pages/unsubscribe", "/pages/preferences"
_ONE_CLICK = ("List-Unsubscribe", "One-Click")  # RFC 8058 3.2
_RECEIVE = "receive."  # what the name of a category's field begins with
_OTHER_FIELDS = 8  # what was shown, the button, and some to spare for categories that went since then

blueprint = surround(Blueprint("unsubscribing", __name__))


@blueprint.get(UNSUBSCRIBE)
def show_button() -> Response:
    """The button that unsubscribes; mail scanners follow links, and press none."""
    return _draw("unsubscribe", _reader())


@blueprint.post(UNSUBSCRIBE)
def unsubscribe() -> Response:
    """Unsubscribe whoever the link was mailed to, for a reader or a mail program; it may be said again."""
    reader, fields = _reader(), forms.read_from_anywhere()
    name, value = _ONE_CLICK
    if fields.get(name) != value:
        raise BadRequestError(f"To unsubscribe, the form has to say {name}={value} (RFC 8058 3.2).")
    with context.transaction() as session:
        preferences.unsubscribe(session, reader.email, reader.category, callers.recipient())
    return _draw("unsubscribed", reader)


@blueprint.get(PREFERENCES)
def show_preferences() -> Response:
    """Which mail the reader gets, and what can be chosen."""
    reader = _reader()
    with context.glance() as session:
        found = preferences.read(session, reader.email, _categories())
    return _draw_preferences(reader, found, is_saved=False)


@blueprint.post(PREFERENCES)
def choose() -> Response:
    """Do as the reader chose."""
    reader, categories, actor = _reader(), _categories(), callers.recipient()
    fields = forms.read(most_fields=len(categories) + _OTHER_FIELDS)
    shown = fields.get("shown", "").split(",")
    with context.transaction() as session:
        if fields.get("choice") == "none":
            preferences.unsubscribe(session, reader.email, OPTIONAL, actor)
        else:
            # A box without its mark sends nothing, and neither does a category that is newer than the page.
            wanted = {category: f"{_RECEIVE}{category}" in fields for category in shown}
            preferences.choose(session, reader.email, categories, wanted, actor)
        found = preferences.read(session, reader.email, categories)
    return _draw_preferences(reader, found, is_saved=True)


@blueprint.errorhandler(TokenInvalidError)
def tell_unknown(_error: TokenInvalidError) -> Response:
    """The link is not one of ours, or lost a part on its way."""
    return pages().draw("unknown", HTTPStatus.BAD_REQUEST)


def _reader() -> Reader:
    return context.part(Links).read(request.args.get("token", ""))


def _categories() -> tuple[str, ...]:
    return context.part(Catalog).optional_categories()


def _draw(name: str, reader: Reader) -> Response:
    return pages().draw(name, token=request.args["token"], category=reader.category, address=_shown(reader))


def _draw_preferences(reader: Reader, found: Preferences, *, is_saved: bool) -> Response:
    return pages().draw(
        "preferences", token=request.args["token"], address=_shown(reader), preferences=found, is_saved=is_saved
    )


def _shown(reader: Reader) -> str:
    # Enough for the reader to know it again; a forwarded link does not tell all of it.
    return mask(reader.email)
