"""Tokens: single-use links and codes, each bound to one purpose and one subject."""

from typing import Unpack

from email_service_client.answers import Redeemed, Revoked, Token, TokenIssued
from email_service_client.bodies import TokenIn
from email_service_client.calls import Call, key_or_new
from email_service_client.rooms import Room, TransportT, asks
from email_service_client.words import Purpose

_ALWAYS = float("inf")  # nothing is done


class Tokens(Room[TransportT]):
    @asks
    def issue(self, *, idempotency_key: str | None = None, **token: Unpack[TokenIn]) -> Call[TokenIssued]:
        """Issue a token and mail it, or with `deliver=False` have it handed over. It replaces an earlier one."""
        return Call("POST", "/v1/tokens", TokenIssued, body=token, key=key_or_new(idempotency_key))

    @asks
    def verify(self, purpose: Purpose, token: str) -> Call[Token]:
        """Look at a token and leave it as it is; TokenRefused when it cannot be redeemed."""
        body = {"purpose": purpose, "token": token}
        return Call("POST", "/v1/tokens/verify", Token, body=body, repeatable_seconds=_ALWAYS)

    @asks
    def consume(
        self,
        purpose: Purpose,
        token: str | None = None,
        *,
        email: str | None = None,
        code: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Redeemed]:
        """Redeem a token, or a code with the address it was mailed to. Of any number at once, one gets the answer.

        The answer to an `idempotency_key` is given again for 72 hours: one made from the token would let it work again.
        """
        body = redemption(purpose, token, email, code)
        return Call("POST", "/v1/tokens/consume", Redeemed, body=body, key=key_or_new(idempotency_key))

    @asks
    def revoke(self, subject: str, purpose: Purpose | None = None) -> Call[Revoked]:
        """Revoke the live tokens of a subject, of one purpose or of all."""
        return Call("DELETE", "/v1/tokens", Revoked, query={"subject": subject, "purpose": purpose})


def redemption(purpose: Purpose, token: str | None, email: str | None, code: str | None) -> dict[str, str]:
    """What redeems: a token, or an address and a code."""
    if (token is None) == (email is None or code is None) or (token is not None and (email or code)):
        raise ValueError("A token is needed, or an email and a code.")
    shown = {"purpose": purpose, "token": token, "email": email, "code": code}
    return {name: value for name, value in shown.items() if value is not None}
