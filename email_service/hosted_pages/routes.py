"""The hosted pages over HTTP. GET and HEAD change nothing, whatever scans the mail; a click on a button posts a form.

They redeem what needs no product, and tell nobody whether an account exists. Every error leaves as a page.
"""

from http import HTTPStatus

from flask import Blueprint, Response, request

from email_service.audit import callers
from email_service.hosted_pages import forms
from email_service.hosted_pages.surroundings import pages, surround
from email_service.kernel.errors import (
    InvalidInputError,
    ServiceError,
    TokenExpiredError,
    TokenInvalidError,
    TokenUsedError,
)
from email_service.settings import Settings
from email_service.tokens import public_schemas, schemas, transactions
from email_service.tokens.purposes import RULES, Purpose
from email_service.tokens.redemption import Presented
from email_service.tokens.requests import Wish
from email_service.web import context, public_limits

_PREFIX = "/pages"
_VERIFICATION = Purpose.EMAIL_VERIFICATION  # the one that has a code and can be asked for, and needs no product
_CONFIRMED = (_VERIFICATION, Purpose.EMAIL_CHANGE)
_REFUSALS = (InvalidInputError, TokenExpiredError, TokenInvalidError, TokenUsedError)

blueprint = surround(Blueprint("hosted_pages", __name__))


def path_of(purpose: Purpose) -> str:
    """The path of the page that a link of this purpose leads to."""
    return f"{_PREFIX}/{_slug(purpose)}"


def _slug(purpose: Purpose) -> str:
    return purpose.replace("_", "-")


def _one_of(*purposes: Purpose) -> str:
    return f"any({', '.join(repr(_slug(purpose)) for purpose in purposes)})"


@blueprint.get("/")
def show_start() -> Response:
    """Where the product's name in a mail leads as long as there is no front end."""
    return pages().draw("start", has_front_end=context.part(Settings).frontend_url is not None)


@blueprint.get(f"{_PREFIX}/<{_one_of(*_CONFIRMED)}:slug>")
def show_button(slug: str) -> Response:
    """The button that redeems the link's token; nobody looks at the token before it is pressed."""
    purpose = _purpose(slug)
    try:
        presented = forms.check(schemas.LinkIn(), {"purpose": purpose, "token": request.args.get("token", "")})
    except InvalidInputError as error:
        return _tell_gone(purpose, error)
    return pages().draw("confirm", about=slug, token=presented.token)


@blueprint.post(f"{_PREFIX}/<{_one_of(*_CONFIRMED)}:slug>")
def confirm(slug: str) -> Response:
    """Redeem the token of the form."""
    purpose, fields = _purpose(slug), forms.read()
    try:
        _redeem(forms.check(schemas.LinkIn(), {**fields, "purpose": purpose}))
    except _REFUSALS as error:
        return _tell_gone(purpose, error)
    return pages().draw("confirmed", about=slug)


@blueprint.get(f"{_PREFIX}/<{_one_of(*(each for each in Purpose if each not in _CONFIRMED))}:slug>")
def name_the_product(slug: str) -> Response:
    """What only the product can redeem is left alone; the page says what its operator has to set."""
    del slug
    return pages().draw("product")


@blueprint.get(f"{_PREFIX}/{_slug(_VERIFICATION)}/code")
def show_code() -> Response:
    """The form for a code and the address that it was mailed to."""
    return pages().draw("code")


@blueprint.post(f"{_PREFIX}/{_slug(_VERIFICATION)}/code")
def confirm_code() -> Response:
    """Redeem the code of the form."""
    fields = forms.read()
    typed = {**fields, "code": "".join(fields.get("code", "").split())}
    try:
        _redeem(forms.check(schemas.RedemptionIn(), {**typed, "purpose": _VERIFICATION}))
    except _REFUSALS as error:
        return pages().draw("code", error.status, error=_entry(error), fields=fields)
    return pages().draw("confirmed", about=_slug(_VERIFICATION))


@blueprint.get(f"{_PREFIX}/{_slug(_VERIFICATION)}/mail")
def show_wish() -> Response:
    """The form that asks for another mail."""
    return pages().draw("mail")


@blueprint.post(f"{_PREFIX}/{_slug(_VERIFICATION)}/mail")
def ask() -> Response:
    """Write down that somebody asks for a mail, as `POST /public/v1/tokens` does, and say the same to everybody."""
    fields = forms.read()
    try:
        wanted = forms.check(public_schemas.MailWishIn(), {**fields, "purpose": _VERIFICATION})
    except InvalidInputError as error:
        return pages().draw("mail", error.status, error=_entry(error), fields=fields)
    _record(wanted["email"])
    return pages().draw("asked", HTTPStatus.ACCEPTED)


def _purpose(slug: str) -> Purpose:
    return Purpose(slug.replace("-", "_"))


def _tell_gone(purpose: Purpose, error: ServiceError) -> Response:
    return pages().draw("gone", HTTPStatus.BAD_REQUEST, reason=_entry(error), can_be_asked_for=RULES[purpose].is_public)


def _entry(error: ServiceError) -> str:
    """Under which name the words say what was wrong: the field that cannot be used, or the error's code."""
    pointer = error.faults[0].pointer if error.faults else ""
    return pointer.strip("/") or error.code


def _redeem(presented: Presented) -> None:
    public_limits.refuse_failed()
    with public_limits.failures_counted():
        transactions.redeem(presented, callers.stranger())


def _record(email: str) -> None:
    wish = Wish.of(callers.stranger(), purpose=_VERIFICATION, email=email, locale=None)
    transactions.ask(wish, has_place=public_limits.take_place(email, {}))
