"""What holds for every exchange with a browser: cookies, headers, and forms that come from this site only."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request

from main_app.faults import FaultError
from main_app.sign_ins import Pair

_REFRESH_SECONDS = 30 * 86400  # the service's SESSION_LIFETIME
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A token is in the address of the page that a mail leads to, and must not travel on.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def install(app: Flask) -> None:
    app.before_request(refuse_foreign)
    app.after_request(_protect)


def refuse_foreign() -> None:
    """Whoever changes something has to come from here. SameSite cookies say so too; this holds for siblings as well.

    A page without a referrer sends `Origin: null` even to itself, so what the browser says of the site comes first.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    ours = urlsplit(current_app.config["MAIN_APP"].url)
    is_ours = site in {"same-origin", "none"} if site else origin in {None, f"{ours.scheme}://{ours.netloc}"}
    if not is_ours:
        raise FaultError("foreign_form")


def reader() -> str:
    """The reader's network address; behind proxies, what MAIN_APP_PROXY_COUNT of them say."""
    try:
        return str(ip_address(request.remote_addr or ""))
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - nobody listens; it is the bucket of those without an address


def keep(response: Response, pair: Pair) -> Response:
    """Hand the session to the browser, where no script can read it."""
    _set(response, "access", pair.access_token, seconds=pair.expires_in, same_site="Lax")
    _set(response, "refresh", pair.refresh_token, seconds=_REFRESH_SECONDS, same_site="Strict")
    return response


def forget(response: Response) -> Response:
    _set(response, "access", "", seconds=0, same_site="Lax")
    _set(response, "refresh", "", seconds=0, same_site="Strict")
    return response


def cookie(name: str) -> str:
    """`access` or `refresh`, or nothing."""
    return request.cookies.get(_prefix() + name, "")


def _set(response: Response, name: str, value: str, *, seconds: int, same_site: str) -> None:
    is_secure = bool(_prefix())
    response.set_cookie(
        _prefix() + name, value, max_age=seconds, path="/", httponly=True, secure=is_secure, samesite=same_site
    )


def _prefix() -> str:
    # A sibling domain cannot set a cookie of this name (RFC 6265bis 4.1.3.2); without https nobody can.
    return "__Host-" if current_app.config["MAIN_APP"].is_https else ""


def _protect(response: Response) -> Response:
    for name, value in _HEADERS.items():
        if name != "Cache-Control" or request.endpoint != "static":
            response.headers[name] = value
    return response
