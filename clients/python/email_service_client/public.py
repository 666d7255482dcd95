"""The public calls, for an app that stands between them and its readers' browsers. None of them sends the API key.

Each takes the network address of the reader, by which the service counts; without it all readers share one quota.
"""

from ipaddress import ip_address
from types import NoneType

from email_service_client.answers import Assertion, Promise, TokenPair, ValidToken
from email_service_client.calls import Call, key_or_new
from email_service_client.rooms import Room, TransportT, asks
from email_service_client.tokens import redemption
from email_service_client.words import PublicPurpose, Purpose

_ALWAYS = float("inf")  # nothing is done, or nothing that was not done before
_KEPT_SECONDS = 540.0  # the service repeats the answer to a key for ten minutes
# A refresh token that was replaced is answered once more for 30 seconds; later it would end the whole session.
_GRACE_SECONDS = 20.0


class Public(Room[TransportT]):
    @asks
    def ask(
        self, purpose: PublicPurpose, email: str, *, reader_ip: str | None, locale: str | None = None
    ) -> Call[Promise]:
        """Ask for a mail with a link or a code. The answer is the same whether or not there is such an account.

        Not repeated when its answer is lost, because that would use up the quota of the reader.
        """
        body = {"purpose": purpose, "email": email, "locale": locale}
        return Call("POST", "/public/v1/tokens", Promise, body=body, reader_ip=_address(reader_ip))

    @asks
    def verify(self, purpose: Purpose, token: str, *, reader_ip: str | None) -> Call[ValidToken]:
        """Look at a token and leave it as it is; TokenRefused when it cannot be redeemed."""
        body = {"purpose": purpose, "token": token}
        path, ip = "/public/v1/tokens/verify", _address(reader_ip)
        return Call("POST", path, ValidToken, body=body, reader_ip=ip, repeatable_seconds=_ALWAYS)

    @asks
    def consume(
        self,
        purpose: Purpose,
        token: str | None = None,
        *,
        email: str | None = None,
        code: str | None = None,
        reader_ip: str | None,
        idempotency_key: str | None = None,
    ) -> Call[Assertion]:
        """Redeem a token, or a code with its address, for an assertion that says so.

        A lost answer is had again for a token. For a code it is not, so that this is then not repeated.
        """
        body, path, ip = redemption(purpose, token, email, code), "/public/v1/tokens/consume", _address(reader_ip)
        key, kept_seconds = key_or_new(idempotency_key), _KEPT_SECONDS if token else 0.0
        return Call("POST", path, Assertion, body=body, reader_ip=ip, key=key, repeatable_seconds=kept_seconds)

    @asks
    def refresh(self, refresh_token: str, *, reader_ip: str | None) -> Call[TokenPair]:
        """The next pair of a session; TokenRefused when it is over."""
        body, path, ip = {"refresh_token": refresh_token}, "/public/v1/sessions/refresh", _address(reader_ip)
        return Call("POST", path, TokenPair, body=body, reader_ip=ip, repeatable_seconds=_GRACE_SECONDS)

    @asks
    def revoke(self, refresh_token: str, *, reader_ip: str | None) -> Call[None]:
        """End the session of a refresh token, if there is one."""
        body, path, ip = {"refresh_token": refresh_token}, "/public/v1/sessions/revoke", _address(reader_ip)
        return Call("POST", path, NoneType, body=body, reader_ip=ip, repeatable_seconds=_ALWAYS)


def _address(reader_ip: str | None) -> str | None:
    """One address, so that nobody has the service believe in another one through a header passed on unread."""
    return None if reader_ip is None else str(ip_address(reader_ip))
