"""Verifies what the email service signed, without asking it: access tokens, and assertions that a link was redeemed.

Knows RFC 7519 and RFC 8725: one algorithm, one type for each use, issuer and audience compared.
"""

import threading
import time
from typing import Any, cast

from flask import current_app
from joserfc import jwt
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import ClaimsOption

from main_app.email_service import AwayError, service

ACCESS_TOKEN, ASSERTION = "at+jwt", "assertion+jwt"
_KEEP_SECONDS = 300  # as the key set's Cache-Control says; keys are published twice as long before they sign
_ASK_AGAIN_SECONDS = 10  # made-up key ids must not have us ask at every request


class Verifier:
    """The service's public keys, fetched when they are needed; one for the whole process."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys = KeySet([])
        self._fetched_at = float("-inf")
        self._lock = threading.Lock()

    def claims(self, text: str, kind: str) -> dict[str, Any] | None:
        """What was signed; None when it is not to be believed. AwayError when no key could be had yet."""
        for oldest in (_KEEP_SECONDS, _ASK_AGAIN_SECONDS):
            try:
                token = jwt.decode(text, self._current(oldest), algorithms=["ES256"])
                self._registry().validate(token.claims)
            except ClaimError:
                return None  # its time is over, or it is for somebody else
            except (JoseError, ValueError):
                continue  # perhaps signed with a key that is newer than what we have
            return token.claims if token.header.get("typ") == kind else None
        return None

    def _registry(self) -> jwt.JWTClaimsRegistry:
        ours: ClaimsOption = {"essential": True, "value": self._issuer}
        return jwt.JWTClaimsRegistry(iss=ours, aud=ours, exp={"essential": True}, sub={"essential": True})

    def _current(self, oldest_seconds: float) -> KeySet:
        with self._lock:
            if time.monotonic() - self._fetched_at > oldest_seconds:
                self._fetch()
            return self._keys

    def _fetch(self) -> None:
        """While the service is away, the keys that are known go on to be believed."""
        try:
            self._keys = KeySet.import_key_set(cast(Any, service().signing_keys()))
        except AwayError:
            if not self._keys.keys:
                raise
        self._fetched_at = time.monotonic()


def verifier() -> Verifier:
    """The verifier of this app."""
    return cast(Verifier, current_app.extensions["verifier"])
