"""The two clients of the service, `EmailService` and `AsyncEmailService`: the same rooms, over a transport each."""

from typing import Self

import httpx2

from email_service_client.accounts import Accounts
from email_service_client.audit import Audit
from email_service_client.calls import Errand, Line
from email_service_client.claims import AccessClaims, AssertionClaims
from email_service_client.keys import KeyRing
from email_service_client.messages import Messages
from email_service_client.public import Public
from email_service_client.retries import Retries
from email_service_client.rooms import Room, TransportT, asks
from email_service_client.sessions import Sessions
from email_service_client.suppressions import Suppressions
from email_service_client.templates import Templates
from email_service_client.tokens import Tokens
from email_service_client.transports import Awaiting, Blocking
from email_service_client.words import Purpose

ISSUER = "email-service"  # TOKEN_ISSUER of the service, unless it is set
RETRIES = Retries()


class Rooms(Room[TransportT]):
    """All rooms, and what is verified without asking the service each time."""

    def __init__(self, transport: TransportT) -> None:
        super().__init__(transport)
        self.messages = Messages(transport)
        self.templates = Templates(transport)
        self.suppressions = Suppressions(transport)
        self.accounts = Accounts(transport)
        self.tokens = Tokens(transport)
        self.sessions = Sessions(transport)
        self.audit = Audit(transport)
        self.public = Public(transport)
        self._keys = KeyRing()

    @asks
    def verify_access_token(
        self, token: str, *, audience: str | None = None, issuer: str = ISSUER
    ) -> Errand[AccessClaims]:
        """Who is signed in, by an access token. VerificationFailed when it is not to be believed, or not any more.

        `audience` is the service's ACCESS_TOKEN_AUDIENCE; unset, it is the issuer. Needs the extra `jwt`.
        """
        from email_service_client import signatures  # noqa: PLC0415 - joserfc is not there for whoever only sends

        return signatures.access_token(token, self._keys, issuer, audience or issuer)

    @asks
    def verify_assertion(
        self, token: str, purpose: Purpose, *, audience: str | None = None, issuer: str = ISSUER
    ) -> Errand[AssertionClaims]:
        """Who redeemed a token of this purpose at the public calls. VerificationFailed when it is not to be believed.

        `audience` is the service's TOKEN_AUDIENCE; unset, it is the issuer. Accept each `id` once. Needs `jwt` too.
        """
        from email_service_client import signatures  # noqa: PLC0415 - joserfc is not there for whoever only sends

        return signatures.assertion(token, self._keys, issuer, audience or issuer, purpose)


class EmailService(Rooms[Blocking]):
    """Calls the service and waits for each answer. One is enough for a process, and its threads may share it.

    `timeout` is in seconds, for each try; `retries` says how long tries go on. `public_url` is for a service that is
    split in two (EXPOSE). The connections made here pass over the proxies that the environment names, because those
    would see the key; an `http` of yours is used as it is, and stays yours to close.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        public_url: str | None = None,
        timeout: float = 10.0,
        retries: Retries = RETRIES,
        http: httpx2.Client | None = None,
    ) -> None:
        line = Line(url=url, public_url=public_url or url, api_key=api_key, timeout_seconds=timeout, retries=retries)
        self._is_ours = http is None
        self._http = http or httpx2.Client(trust_env=False)
        super().__init__(Blocking(self._http, line))

    def close(self) -> None:
        """End the connections that are kept."""
        if self._is_ours:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEmailService(Rooms[Awaiting]):
    """As EmailService, with answers to be awaited; for one event loop."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        public_url: str | None = None,
        timeout: float = 10.0,
        retries: Retries = RETRIES,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        line = Line(url=url, public_url=public_url or url, api_key=api_key, timeout_seconds=timeout, retries=retries)
        self._is_ours = http is None
        self._http = http or httpx2.AsyncClient(trust_env=False)
        super().__init__(Awaiting(self._http, line))

    async def close(self) -> None:
        """End the connections that are kept."""
        if self._is_ours:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
