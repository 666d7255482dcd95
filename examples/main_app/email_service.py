"""The email service as seen from here: one method for each call that this app makes, and what its refusals mean.

Knows URLs, the key and time-outs; knows no table and decides nothing about people.
"""

import logging
from typing import Any, cast

import requests
from flask import current_app

from main_app.faults import FaultError
from main_app.users import User

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = (3, 10)  # to connect, to answer
_OUR_FAULT = (401, 403)  # a wrong key or a missing scope: nothing that a reader could mend


class AwayError(FaultError):
    """No answer, or none that helps: the same call may succeed later."""

    def __init__(self) -> None:
        super().__init__("unavailable")


class RefusedError(FaultError):
    """The service will not do this, however often it is asked; `reason` is its own code."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason, retry_after)
        self.reason = reason


class EmailService:
    """A client with connections that are kept; one for the whole process."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url.rstrip("/")
        self._api_key = api_key
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy and no .netrc gets to see the key

    def put_account(self, user: User) -> None:
        known = {"email": user.email, "name": user.name, "email_verified": bool(user.email_verified)}
        self._call("PUT", f"/v1/accounts/{user.subject}", known)

    def mail_token(self, purpose: str, subject: str, key: str, **variables: str) -> None:
        """Have a link mailed. The same `key` mails one, however often this is repeated."""
        self._call("POST", "/v1/tokens", {"purpose": purpose, "subject": subject, "variables": variables}, key=key)

    def mail_password_changed(self, user: User, key: str, action_url: str) -> None:
        variables = {"name": user.name, "action_url": action_url} if user.name else {"action_url": action_url}
        to = {"email": user.email, "name": user.name}
        self._call("POST", "/v1/messages", {"template": "password-changed", "to": to, "variables": variables}, key=key)

    def verify(self, purpose: str, token: str) -> dict[str, Any]:
        """Look at a token, and leave it as it is."""
        return self._call("POST", "/v1/tokens/verify", {"purpose": purpose, "token": token})

    def consume(self, purpose: str, token: str, key: str) -> dict[str, Any]:
        """Redeem a token. The answer to `key` is given again for days, so a key made from the token would undo it."""
        return self._call("POST", "/v1/tokens/consume", {"purpose": purpose, "token": token}, key=key)

    def start_session(self, user: User, ip: str, user_agent: str) -> dict[str, Any]:
        """The claims are in every access token of the session."""
        known = {"subject": user.subject, "claims": {"era": user.era}, "ip": ip, "user_agent": user_agent}
        return self._call("POST", "/v1/sessions", known)

    def end_sessions(self, subject: str) -> None:
        self._call("DELETE", f"/v1/sessions?subject={subject}")

    def ask_for_mail(self, purpose: str, email: str, reader: str) -> None:
        """What a stranger asks for. The service looks up the address afterwards, and keeps the quotas."""
        self._call("POST", "/public/v1/tokens", {"purpose": purpose, "email": email}, reader=reader)

    def refresh(self, refresh_token: str, reader: str) -> dict[str, Any]:
        return self._call("POST", "/public/v1/sessions/refresh", {"refresh_token": refresh_token}, reader=reader)

    def revoke(self, refresh_token: str, reader: str) -> None:
        self._call("POST", "/public/v1/sessions/revoke", {"refresh_token": refresh_token}, reader=reader)

    def signing_keys(self) -> dict[str, Any]:
        return self._call("GET", "/.well-known/jwks.json")

    def _call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, reader: str | None = None
    ) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        if path.startswith("/v1/"):
            headers["Authorization"] = f"Bearer {self._api_key}"
        if reader:
            # The service counts by network. For it this app is a proxy (TRUSTED_PROXY_COUNT) that tells who asks.
            headers["X-Forwarded-For"] = reader
        response = self._send(method, path, headers, body)
        if response.ok:
            return cast("dict[str, Any]", response.json())
        if response.status_code in _OUR_FAULT or response.status_code >= requests.codes.server_error:
            _log.error("email service: %s %s is %s", method, path.partition("?")[0], response.status_code)
            raise AwayError
        if response.status_code == requests.codes.too_many_requests and not reader:
            raise AwayError
        raise RefusedError(_code(response), response.headers.get("Retry-After"))

    def _send(self, method: str, path: str, headers: dict[str, str], body: object) -> requests.Response:
        """Twice, if the connection breaks: the other side may have closed it. Every call here may be repeated."""
        for is_last in (False, True):
            try:
                return self._http.request(
                    method,
                    self._url + path,
                    json=body,
                    headers=headers,
                    timeout=_TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                if is_last or not isinstance(error, requests.ConnectionError):
                    _log.warning("email service: no answer to %s %s", method, path.partition("?")[0])
                    raise AwayError from error
        raise AssertionError


def service() -> EmailService:
    """The client of this app."""
    return cast(EmailService, current_app.extensions["email_service"])


def _code(response: requests.Response) -> str:
    try:
        return str(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return "unavailable"
