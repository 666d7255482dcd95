"""Messages that lie in the past, with all that can hang on them, for tests of what is forgotten when."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session

from email_service.kernel import clock
from email_service.kernel.orm import first_id_at, new_id
from email_service.messages.models import DeliveryAttempt, Event, Message, MessageContent, MessageTag
from email_service.messages.state import FINAL

_TEXTS = {"template": "welcome", "template_version": "1", "lane": "bulk", "recipient_email": "ada@example.com"}
_EMPTY = {"recipient_name": "", "cc": [], "bcc": [], "headers": {}, "metadata_": {}, "message_id_header": "<a@b.test>"}
_ATTEMPT = {"transport": "smtp", "outcome": "accepted", "phase": "final", "reply": "", "refused": {}}


def add_aged(session: Session, client_id: UUID, days: float, status: str = "sent", **fields: Any) -> UUID:
    """A message that was accepted, and reached its status, so many days ago."""
    return add_many_aged(session, client_id, [days], status, **fields)[0]


def add_many_aged(
    session: Session, client_id: UUID, ages: Sequence[float], status: str = "sent", **fields: Any
) -> list[UUID]:
    """One of them for each age in days."""
    times = [clock.now() - timedelta(days=days) for days in ages]
    ids = [UUID(int=first_id_at(at).int | new_id().int & (1 << 76) - 1) for at in times]
    both = list(zip(ids, times, strict=True))
    is_waiting = status not in FINAL and status != "uncertain"
    row = {**_TEXTS, **_EMPTY, "client_id": client_id, "status": status, "tags": ["a"], "is_sensitive": False}
    tables: dict[type, list[dict[str, Any]]] = {
        Message: [
            row
            | {"id": message_id, "created_at": at, "round_began_at": at}
            | {"finished_at": at if status in FINAL else None, "due_at": at if is_waiting else None}
            | fields
            for message_id, at in both
        ],
        MessageContent: [{"message_id": message_id, "variables": b"sealed"} for message_id in ids],
        MessageTag: [{"message_id": message_id, "tag": "a", "client_id": client_id} for message_id in ids],
        DeliveryAttempt: [{"message_id": each, "started_at": at, "finished_at": at, **_ATTEMPT} for each, at in both],
        Event: [
            {"message_id": message_id, "name": name, "occurred_at": at, "data": {}}
            for message_id, at in both
            for name in ("one", "two")
        ],
    }
    for table, rows in tables.items():
        session.execute(insert(table), rows)
    return ids
