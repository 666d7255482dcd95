"""One call of the API without its carrier: what is sent, when it is sent again, and how its answer is read.

Knows HTTP; opens no connection and never sleeps.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from importlib.metadata import version
from types import GenericAlias, NoneType
from typing import Generic, Protocol, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

from email_service_client.decoding import Page, decode, encode, write
from email_service_client.exchange import Conversation, Reply, Request
from email_service_client.failures import failure
from email_service_client.problems import UnexpectedAnswer
from email_service_client.retries import Retries, may_help

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_AGENT = f"email-service-client/{version('email-service-client')}"
_REPEATABLE_METHODS = {"GET", "PUT", "DELETE"}  # RFC 9110 9.2.2
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where the service is and how to speak to it."""

    url: str
    public_url: str
    api_key: str | None = field(repr=False)
    timeout_seconds: float
    retries: Retries
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        for url in (self.url, self.public_url):
            parts = urlsplit(url)
            has_more = parts.username or parts.query or parts.fragment
            if parts.scheme not in {"http", "https"} or not parts.hostname or has_more:
                raise ValueError("The address of the service is http://host or https://host, with a path at most.")
        # What no header may hold would be shown in the refusal of the HTTP library.
        if self.api_key is not None and not re.fullmatch(r"[!-~]+", self.api_key):
            raise ValueError("The API key has a character that no key has, such as the end of a line.")


def key_or_new(given: str | None) -> str:
    """The Idempotency-Key of one call and its retries."""
    if given is None:
        return secrets.token_urlsafe(24)
    if not re.fullmatch(r"[ -~]{1,255}", given):
        raise ValueError("An idempotency key has 1 to 255 printable ASCII characters.")
    return given


class Errand(Protocol[T_co]):
    """Something to be had from the service, by one request or by several."""

    def begin(self, line: Line) -> Conversation[T_co]: ...


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call, and the class of its answer."""

    method: str
    path: str  # as the description of the API writes it
    answer: type[T]
    _: KW_ONLY
    names: Mapping[str, object] = field(default_factory=dict, repr=False)  # of the path
    query: Mapping[str, object] = field(default_factory=dict, repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    key: str | None = None  # Idempotency-Key: the service does it once
    reader_ip: str | None = field(default=None, repr=False)
    # How long after the first try another one does no harm, though the first may have been heard.
    repeatable_seconds: float | None = None

    def begin(self, line: Line) -> Conversation[T]:
        reply = yield from self.talk(line)
        try:
            return decode(self.answer, None if self.answer is NoneType else json.loads(reply.content))
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(f"{self}: {reply.status}, and not as described: {error}") from None

    def talk(self, line: Line) -> Conversation[Reply]:
        """Ask, and again as long as that may help; the reply of a success."""
        request, began_at = self._write(line), line.now()
        tries = 0
        while True:
            outcome = yield request
            tries += 1
            if isinstance(outcome, Reply) and outcome.is_success:
                return outcome
            error = failure(str(self), outcome)
            pause = line.retries.pause_seconds(tries, error)
            spent = line.now() - began_at + pause
            is_repeatable = spent <= self._repeatable_seconds
            if spent > line.retries.total_seconds or not may_help(error, is_repeatable=is_repeatable):
                raise error
            request = replace(request, after_seconds=pause)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def _repeatable_seconds(self) -> float:
        if self.repeatable_seconds is not None:
            return self.repeatable_seconds
        return _FOREVER if self.key or self.method in _REPEATABLE_METHODS else 0.0

    def _write(self, line: Line) -> Request:
        is_internal = self.path.startswith("/v1/")
        headers = {"Accept": "application/json, application/problem+json", "User-Agent": _AGENT}
        if is_internal and line.api_key:
            headers["Authorization"] = f"Bearer {line.api_key}"
        if self.key:
            headers["Idempotency-Key"] = self.key
        if self.reader_ip:
            # The service counts by network. For it the caller is a proxy, one of TRUSTED_PROXY_COUNT.
            headers["X-Forwarded-For"] = self.reader_ip
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return Request(
            method=self.method,
            url=(line.url if is_internal else line.public_url).rstrip("/") + self._target(),
            headers=headers,
            content=None if self.body is None else encode(self.body),
        )

    def _target(self) -> str:
        path = self.path.format_map({name: _step(name, value) for name, value in self.names.items()})
        query = urlencode({name: write(value) for name, value in self.query.items() if value is not None})
        return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that is read page by page."""

    path: str
    item: type[T]
    _: KW_ONLY
    names: Mapping[str, object] = field(default_factory=dict, repr=False)
    query: Mapping[str, object] = field(default_factory=dict, repr=False)

    def page(self, cursor: str | None) -> Call[Page[T]]:
        """The page at this cursor; the first one at None."""
        answer = cast(type[Page[T]], GenericAlias(Page, (self.item,)))
        return Call("GET", self.path, answer, names=self.names, query={**self.query, "cursor": cursor})


def _step(name: str, value: object) -> str:
    """One step of a path. Whatever is in the value, it leads nowhere else (CVE-2025-48370)."""
    text = str(value)
    if text in {"", ".", ".."}:
        raise ValueError(f"{name} cannot be {text!r}.")
    return quote(text, safe="")
