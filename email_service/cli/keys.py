"""`email-service keys`: change the key that signs, and show which keys there are.

Prints no private half; the service itself makes its first key.
"""

from datetime import datetime

import click

from email_service.audit.service import OPERATOR
from email_service.cli import house
from email_service.kernel import clock
from email_service.messages.service import Intake
from email_service.signing import service
from email_service.signing.models import SigningKey


@click.group()
def keys() -> None:
    """Keys that sign access tokens and assertions."""


@keys.command()
def rotate() -> None:
    """Make a new signing key: published now, signing once every verifier knows it."""
    parts = house.parts(house.build())
    with parts.sessions.begin() as session:
        made = service.rotate(session, parts.get(Intake).sealer, OPERATOR)
        active_from = clock.written(made.active_from)
    print(f"Published the key {made.id}; it signs from {active_from}. Earlier keys verify until what they signed ends.")


@keys.command("list")
def list_() -> None:
    """Show the keys, the newest first."""
    with house.transaction() as session:
        found = service.everything(session)
        now = service.database_time(session)
    signing = next((key for key in found if key.active_from <= now), None)
    for key in found:
        state = "current" if key is signing else _tell_state(key, now)
        retired_at = clock.written(key.retired_at) if key.retired_at else "the next rotation and a day"
        print(f"{key.id}  {state:8} signs from {clock.written(key.active_from)}  published until {retired_at}")
    if not found:
        print("There are no signing keys yet; the service makes the first one when it needs it.")


def _tell_state(key: SigningKey, now: datetime) -> str:
    if key.active_from > now:
        return "next"
    return "retired" if key.retired_at is not None and key.retired_at <= now else "old"
