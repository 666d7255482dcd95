"""Proof that somebody reads an address: a token from a mail, or the service's assertion that one was redeemed.

Pages hand over the token, which is redeemed here. A front end that redeemed it publicly hands over the assertion.
"""

import time
from dataclasses import dataclass

from email_service_client import AssertionClaims
from email_service_client.words import Purpose
from main_app import database, users
from main_app.email_service import service
from main_app.faults import FaultError
from main_app.users import User

_TOKEN_CHARACTERS = 200  # more than any token has


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was handed over; one of the two."""

    purpose: Purpose
    token: str = ""
    assertion: str = ""


def look(proof: Proof) -> User:
    """Whom it is about. Nothing is redeemed, so that a weak password or a mail scanner costs nobody the link."""
    told = _believe(proof) if proof.assertion else service().verify(proof.purpose, _presentable(proof.token))
    return _whose(told.subject, told.email)


def redeem(proof: Proof) -> User:
    """Whom it is about. The proof is worth nothing afterwards: of any number at once, one gets here."""
    if proof.assertion:
        told = _spend(_believe(proof))
        return _whose(told.subject, told.email)
    redeemed = service().consume(proof.purpose, _presentable(proof.token))
    return _whose(redeemed.subject, redeemed.email)


def _presentable(token: str) -> str:
    if not (0 < len(token) <= _TOKEN_CHARACTERS and token.isascii() and token.isprintable()):
        raise FaultError("token_invalid")
    return token


def _believe(proof: Proof) -> AssertionClaims:
    claims = service().read_assertion(proof.assertion, proof.purpose)
    if claims is None:
        raise FaultError("token_invalid")
    return claims


def _spend(claims: AssertionClaims) -> AssertionClaims:
    with database.transaction() as connection:
        connection.execute("DELETE FROM spent_assertions WHERE expires_at < ?", (time.time() - 60,))
        spent = connection.execute(
            "INSERT INTO spent_assertions VALUES (?, ?) ON CONFLICT DO NOTHING",
            (claims.id, claims.expires_at.timestamp()),
        )
        if not spent.rowcount:
            raise FaultError("token_used")
    return claims


def _whose(subject: str, email: str) -> User:
    """The user, if the mail went to the address that the user has now."""
    with database.transaction() as connection:
        user = users.find(connection, subject)
    if user is None or user.email_key != email.lower():
        raise FaultError("token_invalid")
    return user
