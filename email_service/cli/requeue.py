"""`email-service requeue`: put messages that came to nothing back into the queue, as an operator.

Knows how to ask, and to show what happened; which messages can start over is known in `messages`.
"""

from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from email_service.audit.service import OPERATOR
from email_service.cli import house
from email_service.clients import service as clients
from email_service.messages import requeue as messages
from email_service.messages.life import Terms
from email_service.messages.requeue import BATCH, Wanted
from email_service.messages.service import Intake
from email_service.messages.state import RETRYABLE
from email_service.web.context import Parts

_STATUSES = sorted(status.value for status in RETRYABLE)


class _Instant(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            self.fail(f"{value!r} is no time with a zone, such as 2026-11-21T09:30:00Z.", param, ctx)
        return found


@click.command()
@click.argument("message_ids", nargs=-1, type=click.UUID, metavar="[MESSAGE_ID]...")
@click.option("--status", "statuses", multiple=True, type=click.Choice(_STATUSES), help="Repeat it for more.")
@click.option("--client", help="Only this client's messages.")
@click.option("--template", help="Only messages of this template.")
@click.option("--since", type=_Instant(), help="Accepted at this time or later, such as 2026-11-21T09:30:00Z.")
@click.option("--until", type=_Instant(), help="Accepted before this time.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, the oldest first.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say how many there are.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
def requeue(message_ids: tuple[UUID, ...], limit: int | None, is_dry: bool, is_sure: bool, **filters: Any) -> None:
    """Put failed, bounced, uncertain or expired messages back into the queue."""
    if not message_ids and not any(filters.values()):
        raise click.UsageError(
            "Say which messages: give their ids, or --status, --client, --template, --since, --until."
        )
    parts = house.parts(house.build())
    with parts.glances() as session:
        name = filters.pop("client")
        client_id = clients.get(session, name).id if name else None
        wanted = Wanted(message_ids=message_ids, client_id=client_id, **filters)
        found = messages.count(session, wanted)
    total = min(sum(found.values()), limit or sum(found.values()))
    print(f"Found {_told(found) or 'no message'}.")
    unknown = len(set(message_ids)) - sum(found.values())
    if unknown > 0:
        print(f"{unknown} of the ids: no such message, or another filter leaves it out.")
    if is_dry or not total:
        return
    if not is_sure:
        click.confirm(f"Put {total} back into the queue?", abort=True, err=True)
    _run(parts, wanted, total)


def _run(parts: Parts, wanted: Wanted, total: int) -> None:
    intake = parts.get(Intake)
    terms = Terms(catalog=intake.catalog, actor=OPERATOR, is_mail_off=intake.is_mail_off)
    moved, kept, last_id = Counter[str](), Counter[str](), None
    while (left := total - moved.total() - kept.total()) > 0:
        with parts.sessions.begin() as session:
            batch = messages.requeue(session, terms, wanted, last_id, min(BATCH, left))
        if batch.last_id is None:
            break
        last_id = batch.last_id
        moved.update(batch.moved)
        kept.update(batch.kept)
        click.echo(f"{moved.total() + kept.total()} of {total}", err=True)
    print(f"Requeued {moved['queued']}.")
    if others := {status: number for status, number in moved.items() if status != "queued"}:
        print(f"Not to be sent: {_told(others)}.")
    for reason, number in kept.most_common():
        print(f"Left {number} as they are: {reason}")


def _told(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in numbers.items())
