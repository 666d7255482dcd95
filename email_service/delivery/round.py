"""Whose turn it is in a lane: each client with due messages after the other, so that nobody's crowd delays the rest.

Knows clients by id and decides nothing about messages. One thread at a time may use it.
"""

from collections import deque
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery import outbox
from email_service.kernel import clock

CLIENTS_AT_ONCE = 8  # that one claim serves; the others follow in the next ones
LOOK_SECONDS = 0.25  # how long a client that was not there before may wait to be noticed


class Round:
    """The clients of one lane, in the order in which they are served."""

    def __init__(self, glances: sessionmaker[Session], lane: str) -> None:
        self._glances = glances
        self._lane = lane
        self._waiting: deque[UUID] = deque()
        self._looked_at_seconds = 0.0

    def take_turns(self) -> list[UUID]:
        """The clients that are served now; none when nobody has anything due."""
        if not self._waiting or clock.monotonic_seconds() - self._looked_at_seconds > LOOK_SECONDS:
            self.look()
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), CLIENTS_AT_ONCE))]

    def come_again(self, clients: Iterable[UUID]) -> None:
        """These may have more; their next turn is behind the others."""
        self._waiting.extend(clients)

    def look(self) -> None:
        """Notice who has become due, behind those who wait already."""
        self._looked_at_seconds = clock.monotonic_seconds()
        # Apart from any claim: on SQLite, a mere look must not keep writers waiting.
        with self._glances() as session:
            due = outbox.find_due_clients(session, self._lane)
        self._waiting.extend(client_id for client_id in due if client_id not in self._waiting)
