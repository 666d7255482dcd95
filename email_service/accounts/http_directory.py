"""A directory that is elsewhere: the main app is asked over HTTP, in a signed request, who exists.

Believes only what has the agreed shape; everything else counts as no answer. Keeps what it was told for half a minute,
in this process only, and holds no transaction while it waits.
"""

import base64
import hashlib
import hmac
import re
import threading
from typing import Any

import orjson
import structlog
from sqlalchemy.orm import Session

from email_service.accounts.directory import Person, Told
from email_service.kernel import addresses, clock, outbound, subjects
from email_service.kernel.errors import InvalidInputError, UnavailableError
from email_service.kernel.orm import new_id
from email_service.kernel.outbound import NoAnswerError, Target

KEPT_SECONDS = 30.0
KEPT_ANSWERS = 10_000

_OK, _NOT_FOUND = 200, 404
_KEY_PREFIX = "whsec_"  # Standard Webhooks: what follows is the key in base64
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?")
_UNAVAILABLE = "The main app did not say whether the account exists, and nothing was recorded. Try again shortly."

_log = structlog.get_logger(__name__)


class HttpDirectory:
    """The accounts that the main app tells of when it is asked (docs/api.md, An account directory of your own)."""

    def __init__(self, target: Target, secret: str) -> None:
        self._target, self._secret = target, secret
        self._kept = _Kept()

    def ask_subject(self, subject: str) -> Told:
        """The person with this id, asked now; UnavailableError."""
        return Told(self._ask("subject", subject))

    def ask_email(self, email: str) -> Told:
        """The person who gets mail at this address, asked now; UnavailableError."""
        return Told(self._ask("email", email))

    def find_subject(self, session: Session, subject: str) -> Person | None:
        """As `ask_subject`; for whoever has no transaction open."""
        del session
        return self._ask("subject", subject)

    def find_email(self, session: Session, email: str) -> Person | None:
        """As `ask_email`; for whoever has no transaction open."""
        del session
        return self._ask("email", email)

    def _ask(self, member: str, value: str) -> Person | None:
        kept = self._kept.find((member, value))
        if kept is not None:
            return kept.person
        content = orjson.dumps({member: value})
        try:
            answer = outbound.post(self._target, content, _headers(self._secret, content))
            told = Told(None if answer.status == _NOT_FOUND else _read(answer))
            _refuse_other(told, member, value)
        except NoAnswerError as error:
            _log.warning("directory.unavailable", reason=str(error))
            raise UnavailableError(_UNAVAILABLE, retry_after_seconds=2) from None
        self._kept.put((member, value), told)
        return told.person


class _Kept:
    """What was told lately. All of it is kept equally long, so the oldest goes first."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[float, Told]] = {}
        self._lock = threading.Lock()

    def find(self, question: tuple[str, str]) -> Told | None:
        with self._lock:
            ends_at, told = self._told.get(question, (0.0, None))
        return told if clock.monotonic_seconds() < ends_at else None

    def put(self, question: tuple[str, str], told: Told) -> None:
        with self._lock:
            self._told.pop(question, None)
            if len(self._told) >= KEPT_ANSWERS:
                del self._told[next(iter(self._told))]
            self._told[question] = (clock.monotonic_seconds() + KEPT_SECONDS, told)


def _headers(secret: str, content: bytes) -> dict[str, str]:
    """The headers of a signed request, by the Standard Webhooks specification."""
    request_id, sent_at = f"req_{new_id()}", str(int(clock.now().timestamp()))
    signed = f"{request_id}.{sent_at}.".encode() + content
    signature = hmac.digest(_key(secret), signed, hashlib.sha256)
    return {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "email-service",
        "webhook-id": request_id,
        "webhook-timestamp": sent_at,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _key(secret: str) -> bytes:
    if secret.startswith(_KEY_PREFIX):
        return base64.b64decode(secret.removeprefix(_KEY_PREFIX))
    return secret.encode()


def _read(answer: outbound.Answer) -> Person:
    """The person whom the main app told of; NoAnswerError when that has not the agreed shape."""
    if answer.status != _OK or answer.content_type != "application/json":
        raise NoAnswerError(f"the answer has status {answer.status} and is {answer.content_type[:100]}")
    try:
        told = orjson.loads(answer.content)
        return Person(
            subject=_subject(told["subject"]),
            email=addresses.parse(told["email"]).email,
            name=addresses.display_name(told.get("name") or ""),
            locale=_locale(told.get("locale")),
            email_verified=_switch(told.get("email_verified", False)),
            is_disabled=_switch(told.get("disabled", False)),
        )
    except (ValueError, TypeError, KeyError, AttributeError, InvalidInputError):
        raise NoAnswerError("the answer has not the agreed shape") from None


def _refuse_other(told: Told, member: str, value: str) -> None:
    if member == "subject" and told.person is not None and told.person.subject != value:
        raise NoAnswerError("the answer is about another subject")


def _subject(told: Any) -> str:
    if not isinstance(told, str) or not subjects.is_subject(told):
        raise ValueError
    return told


def _locale(told: Any) -> str | None:
    if told is None or _LOCALE.fullmatch(told):
        return None if told is None else str(told)
    raise ValueError


def _switch(told: Any) -> bool:
    if not isinstance(told, bool):
        raise ValueError  # noqa: TRY004 - to the caller it is one mistake among others
    return told
