"""The email service as seen from here: one method for each thing that this app wants of it, and what refusals mean.

The client library makes the calls, repeats them and verifies signatures; nothing here decides about people.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import cast

from flask import current_app

import email_service_client as client
from email_service_client import AccessClaims, AssertionClaims, Retries
from email_service_client.answers import Redeemed, StartedSession, Token, TokenPair
from email_service_client.words import PublicPurpose, Purpose
from main_app.faults import FaultError
from main_app.users import User

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 10
_PATIENCE = Retries(total_seconds=3)  # somebody waits for the page; what can wait is an errand
# A wrong key, a missing scope, an answer of somebody else: nothing that a reader could mend.
_OUR_FAULT = (client.Unauthenticated, client.ScopeMissing, client.UnexpectedAnswer)


class AwayError(FaultError):
    """No answer, or none that helps: the same call may succeed later."""

    def __init__(self) -> None:
        super().__init__("unavailable")


class RefusedError(FaultError):
    """The service will not do this, however often it is asked; `reason` is its own code."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason, None if retry_after is None else str(round(retry_after)))
        self.reason = reason


class EmailService:
    """A client with connections that are kept; one for the whole process."""

    def __init__(self, url: str, api_key: str, issuer: str) -> None:
        self._client = client.EmailService(url, api_key, timeout=_TIMEOUT_SECONDS, retries=_PATIENCE)
        self._issuer = issuer

    def put_account(self, user: User) -> None:
        with _meaning():
            self._client.accounts.put(
                user.subject, email=user.email, name=user.name, email_verified=bool(user.email_verified)
            )

    def mail_token(self, purpose: Purpose, subject: str, key: str, **variables: str) -> None:
        """Have a link mailed. The same `key` mails one, however often this is repeated."""
        with _meaning():
            self._client.tokens.issue(purpose=purpose, subject=subject, variables=variables, idempotency_key=key)

    def mail_password_changed(self, user: User, key: str, action_url: str) -> None:
        variables = {"name": user.name, "action_url": action_url} if user.name else {"action_url": action_url}
        with _meaning():
            self._client.messages.send(
                template="password-changed",
                to={"email": user.email, "name": user.name},
                variables=variables,
                idempotency_key=key,
            )

    def verify(self, purpose: Purpose, token: str) -> Token:
        """Look at a token, and leave it as it is."""
        with _meaning():
            return self._client.tokens.verify(purpose, token)

    def consume(self, purpose: Purpose, token: str) -> Redeemed:
        """Redeem a token; of any number who bring it, one gets here."""
        with _meaning():
            return self._client.tokens.consume(purpose, token)

    def start_session(self, user: User, ip: str, user_agent: str) -> StartedSession:
        """The claims are in every access token of the session."""
        with _meaning():
            return self._client.sessions.create(
                subject=user.subject, claims={"era": user.era}, ip=ip, user_agent=user_agent
            )

    def end_sessions(self, subject: str) -> None:
        with _meaning():
            self._client.sessions.sign_out(subject)

    def ask_for_mail(self, purpose: PublicPurpose, email: str, reader: str) -> None:
        """What a stranger asks for. The service looks up the address afterwards, and keeps the quotas."""
        with _meaning(is_for_reader=True):
            self._client.public.ask(purpose, email, reader_ip=reader)

    def refresh(self, refresh_token: str, reader: str) -> TokenPair:
        with _meaning(is_for_reader=True):
            return self._client.public.refresh(refresh_token, reader_ip=reader)

    def revoke(self, refresh_token: str, reader: str) -> None:
        with _meaning(is_for_reader=True):
            self._client.public.revoke(refresh_token, reader_ip=reader)

    def read_access_token(self, token: str) -> AccessClaims | None:
        """Who is signed in, without asking the service; None when the token is not to be believed, or not any more."""
        with _meaning(), suppress(client.VerificationFailed):
            return self._client.verify_access_token(token, issuer=self._issuer)
        return None

    def read_assertion(self, token: str, purpose: Purpose) -> AssertionClaims | None:
        """Who redeemed a token of this purpose elsewhere; None when that is not to be believed."""
        with _meaning(), suppress(client.VerificationFailed):
            return self._client.verify_assertion(token, purpose, issuer=self._issuer)
        return None


def service() -> EmailService:
    """The client of this app."""
    return cast(EmailService, current_app.extensions["email_service"])


@contextmanager
def _meaning(*, is_for_reader: bool = False) -> Iterator[None]:
    """What went wrong, in this app's words. A used-up quota concerns the reader only where it counted the reader."""
    try:
        yield
    except _OUR_FAULT as error:
        _log.error("email service: %s", error)
        raise AwayError from error
    except (client.ConnectionFailed, client.Unavailable) as error:
        _log.warning("email service: %s", error)
        raise AwayError from error
    except client.ProblemError as error:
        is_our_quota = isinstance(error, client.RateLimited) and not is_for_reader
        if is_our_quota or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("email service: %s", error)
            raise AwayError from error
        raise RefusedError(error.code, error.retry_after) from error
