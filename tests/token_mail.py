"""Token mail as its reader sees it, and tokens as their issuer has them made."""

import email
import email.policy
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from email_service.audit.service import Actor
from email_service.kernel.derivation import Deriver
from email_service.tokens import redemption
from email_service.tokens import service as tokens
from email_service.tokens.models import Token
from email_service.tokens.purposes import Purpose
from email_service.tokens.redemption import Presented
from email_service.tokens.service import Office, Order
from tests.applications import House

ADA = "ada@example.com"
SHOP = Actor(name="client:shop")
INVITER = {"inviter_name": "Eve"}  # what an invitation needs beside what the service adds


@dataclass(frozen=True)
class Carried:
    """What a mail carries, from its text part; None: there is none."""

    text: str
    html: str
    link: str | None
    token: str | None
    code: str | None


def read(source: bytes) -> Carried:
    """The mail of these bytes."""
    mail = email.message_from_bytes(source, policy=email.policy.default)
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    link = re.search(r"(\S+)\?token=(\S+)", text)
    code = re.search(r"(?m)^ *(\d{6})\r?$", text)
    return Carried(text, html, link and link[0], link and link[2], code and code[1])


def issue(house: House, client_id: UUID, purpose: Purpose = Purpose.PASSWORD_RESET, **fields: Any) -> Token:
    """A token of this purpose for `u-1`, mailed to Ada unless told otherwise; its row."""
    known = {"subject": "u-1", "email": ADA, "client_id": client_id, "purpose": purpose}
    if purpose is Purpose.INVITATION and fields.get("is_delivered", True):
        known["variables"] = INVITER
    with house.sessions.begin() as session:
        return tokens.issue(session, house.parts.get(Office), Order(**{**known, **fields}), SHOP)


def secrets_of(house: House, token: Token) -> tuple[str | None, str | None]:
    """Token and code, as a caller who hands them over gets them."""
    with house.sessions.begin() as session:
        made = tokens.secret_of(session, house.parts.get(Office), token.id)
    return made.get("token"), made.get("code")


def look(house: House, purpose: Purpose, token: str) -> Any:
    """The row of a token that could be redeemed now; raises what `redemption.find` raises."""
    with house.parts.glances() as session:
        return redemption.find(session.connection(), by_link(purpose, token))


def consume(house: House, presented: Presented, repeat_key: str | None = None) -> Any:
    """Redeem in two transactions, as the routes do; the row."""
    with house.sessions.begin() as session:
        guess = redemption.count_guess(session.connection(), presented, SHOP) if presented.code else None
    evidence = redemption.weigh(house.parts.get(Deriver), presented, guess)
    office = redemption.consult(house.parts.glances, house.parts.get(Office), evidence)
    with house.sessions.begin() as session:
        return redemption.redeem_and_tell(session, office, evidence, SHOP, repeat_key).row


def by_link(purpose: Purpose, token: str) -> Presented:
    return Presented(purpose=purpose, token=token)


def by_code(purpose: Purpose, code: str, email: str = ADA) -> Presented:
    return Presented(purpose=purpose, email=email, code=code)
