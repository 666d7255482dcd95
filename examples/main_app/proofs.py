"""Proof that somebody reads an address: a token from a mail, or the service's assertion that one was redeemed.

Pages hand over the token, which is redeemed here. A front end that redeemed it publicly hands over the assertion.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from main_app import database, users
from main_app.email_service import service
from main_app.faults import FaultError
from main_app.signatures import ASSERTION, verifier
from main_app.users import User

_TOKEN_CHARACTERS = 200  # more than any token has


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was handed over; one of the two."""

    purpose: str
    token: str = ""
    assertion: str = ""


def look(proof: Proof) -> User:
    """Whom it is about. Nothing is redeemed, so that a weak password or a mail scanner costs nobody the link."""
    if proof.assertion:
        return _whose(_believe(proof))
    return _whose(service().verify(proof.purpose, _presentable(proof.token)))


def redeem(proof: Proof) -> User:
    """Whom it is about. The proof is worth nothing afterwards: of any number at once, one gets here."""
    if proof.assertion:
        return _whose(_spend(_believe(proof)))
    # A random key: whoever repeats this very call is answered again, and whoever else brings the token is not.
    return _whose(service().consume(proof.purpose, _presentable(proof.token), key=secrets.token_urlsafe(16)))


def _presentable(token: str) -> str:
    if not (0 < len(token) <= _TOKEN_CHARACTERS and token.isascii() and token.isprintable()):
        raise FaultError("token_invalid")
    return token


def _believe(proof: Proof) -> dict[str, Any]:
    claims = verifier().claims(proof.assertion, ASSERTION)
    if claims is None or claims.get("purpose") != proof.purpose:
        raise FaultError("token_invalid")
    return claims


def _spend(claims: dict[str, Any]) -> dict[str, Any]:
    with database.transaction() as connection:
        connection.execute("DELETE FROM spent_assertions WHERE expires_at < ?", (time.time() - 60,))
        spent = connection.execute(
            "INSERT INTO spent_assertions VALUES (?, ?) ON CONFLICT DO NOTHING", (claims["jti"], claims["exp"])
        )
        if not spent.rowcount:
            raise FaultError("token_used")
    return claims


def _whose(told: dict[str, Any]) -> User:
    """The user, if the mail went to the address that the user has now."""
    claims = {"subject": told.get("sub"), **told}
    with database.transaction() as connection:
        user = users.find(connection, claims["subject"])
    if user is None or user.email_key != claims["email"].lower():
        raise FaultError("token_invalid")
    return user
