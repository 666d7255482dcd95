"""Who else hears that a token was redeemed: when an address changes, whoever reads the present one.

Writes a message and decides nothing about tokens. Flushes, never commits.
"""

from typing import Any

from sqlalchemy.orm import Session

from email_service.accounts.directory import Person
from email_service.audit.service import Actor
from email_service.kernel.addresses import address_key
from email_service.messages import service as messages
from email_service.messages.service import Intake
from email_service.messages.submission import Submission
from email_service.tokens.purposes import Purpose

PURPOSES = frozenset({Purpose.EMAIL_CHANGE})  # those whose redemption somebody may have to hear of

_TEMPLATE = "email-changed"
_NAME_CHARACTERS = 100  # that the template takes


def tell_of_new_address(session: Session, intake: Intake, reader: Person, token: Any, actor: Actor) -> None:
    """Tell the reader of the account's present address that the one of this redeemed token was confirmed."""
    if address_key(reader.email) == address_key(token.email):
        return
    name = reader.name[:_NAME_CHARACTERS].strip()
    submission = Submission(
        template=_TEMPLATE,
        to={"email": reader.email, "name": reader.name},
        variables={"name": name} if name else {},
        locale=reader.locale,
    )
    messages.accept(session, intake, token.client_id, submission, actor)
