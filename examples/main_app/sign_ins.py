"""Sign in, refresh, sign out, and who is signed in. This app checks the password; the email service keeps the sessions.

An access token says for half an hour who somebody is, and is verified here. A refresh token is used once and replaced.
"""

import logging
from dataclasses import dataclass

from email_service_client.answers import StartedSession, TokenPair
from main_app import database, errands, passwords, throttle, users
from main_app.email_service import AwayError, RefusedError, service
from main_app.faults import FaultError
from main_app.users import User

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a session consists of, on the reader's side."""

    access_token: str
    refresh_token: str
    expires_in: int


def login(email: str, password: str, reader: str, user_agent: str) -> Pair:
    """Start a session. Every wrong pair of address and password gets the same answer, in the same time."""
    key = email.strip().lower()[:320]
    network = throttle.network(reader)
    both = ("sign-in by network and address", f"{network} {key}")
    wider = (("sign-in by network", network), ("sign-in by address", key))
    throttle.take(both, *wider)
    with database.transaction() as connection:
        user = users.find_by_email(connection, key)
    is_right = passwords.matches(user.password_hash if user else None, password)
    # Were an unconfirmed address told apart, signing up and then in would tell a stranger who has an account.
    if user is None or not is_right or not user.email_verified:
        raise FaultError("wrong_credentials")
    throttle.forget(*both)
    throttle.give_back(*wider)
    # The service has to know the account, and a sign-out that still waits must not end what begins here.
    errands.settle(user.subject)
    return _pair(service().start_session(user, reader, user_agent))


def refresh(refresh_token: str, reader: str) -> Pair:
    """The next pair of the session; FaultError `session_over` when there is none."""
    try:
        return _pair(service().refresh(refresh_token, reader))
    except RefusedError as error:
        if error.code == "rate_limited":
            raise
        raise FaultError("session_over") from error


def logout(refresh_token: str, access_token: str, reader: str) -> None:
    """End the session. The reader's browser forgets it in any case."""
    try:
        service().revoke(refresh_token, reader)
    except (AwayError, RefusedError):
        _sign_out_later(access_token)


def read(access_token: str) -> User | None:
    """Who is signed in; None when the token is not to be believed, or its time is over."""
    claims = service().read_access_token(access_token) if access_token else None
    if claims is None:
        return None
    with database.transaction() as connection:
        user = users.find(connection, claims.subject)
    # An access token cannot be called back, but this app knows which of them are from before a reset.
    return user if user and claims.claims.get("era") == user.era else None


def _sign_out_later(access_token: str) -> None:
    """While the service is away one session cannot be ended; all of the person's are, when it is back."""
    try:
        user = read(access_token)
    except AwayError:
        user = None
    if user is None:
        _log.warning("a session was not ended at the email service; it ends by itself")
        return
    with database.transaction() as connection:
        errands.add(connection, "sign_out", user.subject)
    errands.wake()


def _pair(told: StartedSession | TokenPair) -> Pair:
    return Pair(access_token=told.access_token, refresh_token=told.refresh_token, expires_in=told.expires_in)
