"""Whether the service signed a token, for whom and until when (RFC 7519, RFC 8725).

One algorithm, one type for each use, and one key, which the token names and the service published. Needs joserfc, the
extra `jwt`.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

try:
    from joserfc import jwt
    from joserfc.errors import ExpiredTokenError, JoseError
    from joserfc.jwk import ECKey
    from joserfc.jwt import ClaimsOption, JWTClaimsRegistry
except ImportError as error:
    raise ImportError("To verify tokens, install email-service-client[jwt].") from error

from email_service_client.calls import Line
from email_service_client.claims import AccessClaims, AssertionClaims
from email_service_client.exchange import Conversation
from email_service_client.keys import Key, KeyRing
from email_service_client.problems import VerificationExpired, VerificationFailed
from email_service_client.words import Purpose

T = TypeVar("T")
_ALGORITHM = "ES256"
_LEEWAY_SECONDS = 30  # by which the clocks of two machines may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Generic[T]):
    """A token, and what it has to be to be believed."""

    token: str = field(repr=False)
    kind: str  # `typ` of the header
    issuer: str
    audience: str
    read: Callable[[Mapping[str, Any]], T]
    ring: KeyRing

    def begin(self, line: Line) -> Conversation[T]:
        header = _header(self.token)
        if (header.get("alg"), header.get("typ")) != (_ALGORITHM, self.kind):
            raise VerificationFailed(f"This is no {self.kind} signed with {_ALGORITHM}.")
        key = yield from self.ring.find(str(header.get("kid")), line)
        if key is None:
            raise VerificationFailed("The service has no key of the name that the token gives.")
        return self.read(self._claims(key))

    def _claims(self, key: Key) -> Mapping[str, Any]:
        rules = JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss=_is(self.issuer),
            aud=_is(self.audience),
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(self.token, ECKey.import_key(dict(key)), algorithms=[_ALGORITHM]).claims
            rules.validate(claims)
        except ExpiredTokenError:
            raise VerificationExpired("The token has expired.") from None
        except (JoseError, ValueError) as error:
            raise VerificationFailed(f"The token is not to be believed: {type(error).__name__}.") from None
        return claims


def access_token(token: str, ring: KeyRing, issuer: str, audience: str) -> Verification[AccessClaims]:
    def read(claims: Mapping[str, Any]) -> AccessClaims:
        session_id, subject = _text(claims, "sid"), _text(claims, "sub")
        token_id, expires_at = _text(claims, "jti"), _time(claims)
        return AccessClaims(subject=subject, session_id=session_id, id=token_id, expires_at=expires_at, claims=claims)

    return Verification(token=token, kind="at+jwt", issuer=issuer, audience=audience, read=read, ring=ring)


def assertion(token: str, ring: KeyRing, issuer: str, audience: str, purpose: Purpose) -> Verification[AssertionClaims]:
    """For one purpose: what confirmed an address must not change a password."""

    def read(claims: Mapping[str, Any]) -> AssertionClaims:
        if claims.get("purpose") != purpose:
            raise VerificationFailed("The assertion is for another purpose.")
        subject, email = _text(claims, "sub"), _text(claims, "email")
        token_id, expires_at = _text(claims, "jti"), _time(claims)
        return AssertionClaims(purpose=purpose, subject=subject, email=email, id=token_id, expires_at=expires_at)

    return Verification(token=token, kind="assertion+jwt", issuer=issuer, audience=audience, read=read, ring=ring)


def _header(token: str) -> dict[str, Any]:
    try:
        part = token.partition(".")[0].encode("ascii")
        header = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise VerificationFailed("This is no JWT.")
    return header


def _is(value: str) -> ClaimsOption:
    return {"essential": True, "value": value}


def _text(claims: Mapping[str, Any], name: str) -> str:
    if not isinstance(value := claims.get(name), str):
        raise VerificationFailed(f"The token has no {name}.")
    return value


def _time(claims: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(claims["exp"], UTC)
