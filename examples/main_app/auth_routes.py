"""`/auth/*`: the API for a front end or an app, in JSON. Errors are `application/problem+json` (RFC 9457).

Access tokens are in answers, refresh tokens only ever in a cookie that no script can read.
"""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from email_service_client.words import Purpose
from main_app import accounts, browser, sign_ins, throttle
from main_app.faults import FaultError
from main_app.proofs import Proof
from main_app.sign_ins import Pair
from main_app.users import User

_CHECK_MAIL = "If this address can get such a mail, it is on its way."

blueprint = Blueprint("auth", __name__, url_prefix="/auth")


@blueprint.post("/register")
def register() -> tuple[Response, int]:
    told = _read("email", "name", "password")
    accounts.register(told["email"], told["name"], told["password"], browser.reader())
    return jsonify(message=_CHECK_MAIL), 202


@blueprint.post("/verify-email")
def verify_email() -> Response:
    accounts.verify_email(_proof("email_verification"), _read("password")["password"])
    return jsonify(email_verified=True)


@blueprint.post("/resend-verification")
def resend_verification() -> tuple[Response, int]:
    accounts.resend_verification(_read("email")["email"], browser.reader())
    return jsonify(message=_CHECK_MAIL), 202


@blueprint.post("/login")
def login() -> Response:
    told = _read("email", "password")
    agent = request.headers.get("User-Agent", "")
    return _hand_over(sign_ins.login(told["email"], told["password"], browser.reader(), agent))


@blueprint.post("/refresh")
def refresh() -> Response:
    _read()
    if not (token := browser.cookie("refresh")):
        raise FaultError("session_over")
    return _hand_over(sign_ins.refresh(token, browser.reader()))


@blueprint.post("/logout")
def logout() -> tuple[Response, int]:
    _read()
    if token := browser.cookie("refresh"):
        sign_ins.logout(token, browser.cookie("access"), browser.reader())
    return browser.forget(Response()), 204


@blueprint.post("/forgot-password")
def forgot_password() -> tuple[Response, int]:
    accounts.forgot_password(_read("email")["email"], browser.reader())
    return jsonify(message=_CHECK_MAIL), 202


@blueprint.post("/reset-password")
def reset_password() -> Response:
    accounts.reset_password(_proof("password_reset"), _read("password")["password"])
    return jsonify(message="The password is changed. Sign in with it.")


@blueprint.post("/invitations")
def invite() -> tuple[Response, int]:
    inviter = _signed_in()
    throttle.take(("invitation by user", inviter.subject))
    accounts.invite(_read("email")["email"], inviter.name)
    return jsonify(message=_CHECK_MAIL), 202


@blueprint.post("/accept-invitation")
def accept_invitation() -> Response:
    told = _read("name", "password")
    accounts.accept_invitation(_proof("invitation"), told["name"], told["password"])
    return jsonify(message="The account is ready. Sign in.")


@blueprint.get("/me")
def me() -> Response:
    user = _signed_in()
    return jsonify(subject=user.subject, email=user.email, name=user.name)


@blueprint.errorhandler(FaultError)
def tell(fault: FaultError) -> Response:
    members = {"type": f"urn:problem:{fault.code}", "title": fault.code.replace("_", " ").capitalize()}
    response = jsonify(**members, status=int(fault.status), code=fault.code, detail=fault.sentence)
    response.status_code, response.mimetype = fault.status, "application/problem+json"
    if fault.retry_after:
        response.headers["Retry-After"] = fault.retry_after
    # Whoever is told that the session is over has nothing left that could be presented again.
    return browser.forget(response) if fault.code == "session_over" else response


def _read(*names: str) -> dict[str, str]:
    """The texts of these names in the body. Only JSON, which no form of a foreign site can send."""
    told: Any = request.get_json(silent=True) if request.is_json else None
    if not isinstance(told, dict) or not all(_is_text(told.get(name)) for name in names):
        raise FaultError("bad_request")
    return told


def _is_text(value: Any) -> bool:
    """Whether it can be written down: JSON may hold half a character (RFC 8259 8.2)."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _proof(purpose: Purpose) -> Proof:
    told = _read()
    handed = {name: told[name] for name in ("token", "assertion") if isinstance(told.get(name), str)}
    return Proof(purpose=purpose, **handed)


def _signed_in() -> User:
    """Whoever the access token in the header is about; a cookie does not count here."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user = sign_ins.read(token) if scheme.lower() == "bearer" else None
    if user is None:
        raise FaultError("not_signed_in")
    return user


def _hand_over(pair: Pair) -> Response:
    answer = jsonify(access_token=pair.access_token, token_type="Bearer", expires_in=pair.expires_in)  # noqa: S106
    return browser.keep(answer, pair)
