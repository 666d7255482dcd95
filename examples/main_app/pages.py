"""The pages: plain forms that work without a script. GET and HEAD redeem nothing, whatever scans the mail.

Each path is the one that the service's links lead to (LINK_PATH_...), and each template is named like its path.
"""

from collections.abc import Callable

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from email_service_client.words import Purpose
from main_app import accounts, browser, proofs, sign_ins, throttle
from main_app.faults import FaultError
from main_app.proofs import Proof

_OPEN = ("register", "login", "forgot-password", "resend-verification")  # show the same to everybody
_FORMS = {f"/{name}" for name in (*_OPEN, "verify-email", "reset-password", "accept-invitation")}

blueprint = Blueprint("pages", __name__)


def _show(name: str) -> Callable[[], str]:
    return lambda: render_template(f"{name}.html")


for _name in _OPEN:
    blueprint.add_url_rule(f"/{_name}", f"show-{_name}", _show(_name))


@blueprint.get("/")
def home() -> str:
    user = sign_ins.read(browser.cookie("access"))
    return render_template("home.html", user=user, can_continue=bool(browser.cookie("refresh")))


@blueprint.post("/register")
def register() -> Response:
    accounts.register(_field("email"), _field("name"), _field("password"), browser.reader())
    return _go("sent")


@blueprint.get("/verify-email")
def show_verify_email() -> str:
    return render_template("verify-email.html", user=proofs.look(_proof("email_verification")))


@blueprint.post("/verify-email")
def verify_email() -> Response:
    accounts.verify_email(_proof("email_verification"), _field("password"))
    return _go("show-login", told="verified")


@blueprint.post("/resend-verification")
def resend_verification() -> Response:
    accounts.resend_verification(_field("email"), browser.reader())
    return _go("sent")


@blueprint.post("/login")
def login() -> Response:
    agent = request.headers.get("User-Agent", "")
    pair = sign_ins.login(_field("email"), _field("password"), browser.reader(), agent)
    return browser.keep(_go("home"), pair)


@blueprint.post("/refresh")
def refresh() -> Response:
    if not (token := browser.cookie("refresh")):
        raise FaultError("session_over")
    return browser.keep(_go("home"), sign_ins.refresh(token, browser.reader()))


@blueprint.post("/logout")
def logout() -> Response:
    if token := browser.cookie("refresh"):
        sign_ins.logout(token, browser.cookie("access"), browser.reader())
    return browser.forget(_go("show-login", told="signed-out"))


@blueprint.post("/forgot-password")
def forgot_password() -> Response:
    accounts.forgot_password(_field("email"), browser.reader())
    return _go("sent")


@blueprint.get("/reset-password")
def show_reset_password() -> str:
    """A used link is told before anybody thinks of a new password."""
    return render_template("reset-password.html", user=proofs.look(_proof("password_reset")))


@blueprint.post("/reset-password")
def reset_password() -> Response:
    accounts.reset_password(_proof("password_reset"), _field("password"))
    return browser.forget(_go("show-login", told="password-changed"))


@blueprint.post("/invite")
def invite() -> Response:
    if not (inviter := sign_ins.read(browser.cookie("access"))):
        raise FaultError("session_over")
    throttle.take(("invitation by user", inviter.subject))
    accounts.invite(_field("email"), inviter.name)
    return _go("sent")


@blueprint.get("/accept-invitation")
def show_accept_invitation() -> str:
    return render_template("accept-invitation.html", user=accounts.look_at_invitation(_proof("invitation")))


@blueprint.post("/accept-invitation")
def accept_invitation() -> Response:
    accounts.accept_invitation(_proof("invitation"), _field("name"), _field("password"))
    return _go("show-login", told="joined")


@blueprint.get("/sent")
def sent() -> str:
    return render_template("sent.html")


@blueprint.errorhandler(FaultError)
def tell(fault: FaultError) -> Response:
    """The same form once more with a sentence about it, or a page of its own where no form would help."""
    if fault.code == "session_over":
        return browser.forget(_go("show-login", told="session-over"))
    is_sent_again = (
        request.method == "POST" and request.path in _FORMS and not fault.code.startswith(("token_", "too_large"))
    )
    name = request.path.strip("/") if is_sent_again else "gone"
    response = make_response(render_template(f"{name}.html", fault=fault, user=None), fault.status)
    if fault.retry_after:
        response.headers["Retry-After"] = fault.retry_after
    return response


def _field(name: str) -> str:
    return request.form.get(name, "")


def _proof(purpose: Purpose) -> Proof:
    return Proof(purpose=purpose, token=request.values.get("token", ""))


def _go(endpoint: str, told: str | None = None) -> Response:
    """On to a page that can be loaded again, without the form and without the token in its address."""
    return make_response(redirect(url_for(f"pages.{endpoint}", told=told), 303))
