"""What readers say of the mail to their own address: which categories they want, and which not.

What is said of an address as a whole (it does not exist, its reader complained) is not theirs to change here, and
mail that they cannot do without is no category here. Flushes, never commits; knows no request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from email_service.audit.service import Actor
from email_service.kernel.categories import OPTIONAL
from email_service.suppressions import service
from email_service.suppressions.models import Reason, Suppression


@dataclass(frozen=True, slots=True)
class Preferences:
    """What an address gets."""

    received: Mapping[str, bool]  # by category
    is_blocked: bool  # nothing is mailed to it at all, whatever its reader wants


def read(session: Session, email: str, categories: Sequence[str]) -> Preferences:
    """Which of the categories the address gets."""
    found = service.look_up(session, [email])
    return Preferences(
        received={category: found.gets(email, category) for category in categories},
        is_blocked=found.find(email, None) is not None,
    )


def unsubscribe(session: Session, email: str, category: str, actor: Actor) -> None:
    """Let the address get nothing more of the category, or nothing optional at all; twice is no more than once."""
    row = Suppression(email=email, category=category, reason=Reason.UNSUBSCRIBE)
    service.insert(session, row, actor)


def choose(session: Session, email: str, categories: Sequence[str], wanted: Mapping[str, bool], actor: Actor) -> None:
    """Let the address get those of the categories that `wanted` says; what it does not name stays as it is."""
    before = read(session, email, categories).received
    after = {category: wanted.get(category, is_received) for category, is_received in before.items()}
    if after == before:
        return
    if any(after.values()):
        # From now on "all but these", which is said category by category.
        service.lift(session, email, OPTIONAL, actor)
    for category, is_received in after.items():
        if is_received:
            service.lift(session, email, category, actor)
        else:
            unsubscribe(session, email, category, actor)
