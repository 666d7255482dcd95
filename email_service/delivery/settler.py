"""One thread that writes outcomes as fast as the database takes them: all that came while it wrote go together next.

Nothing waits for a batch to fill, so an outcome is open no longer than two commits; what nobody began goes back the
same way. Knows no message and no rule.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery import outbox
from email_service.delivery.job import Job, Result
from email_service.delivery.settlement import Rules, settle
from email_service.kernel import tallies
from email_service.kernel.tallies import Count

MOST_AT_ONCE = 200
DATABASE_PAUSE_SECONDS = 0.5

_log = structlog.get_logger(__name__)


class Settler:
    """Takes results from every worker of the process."""

    def __init__(
        self, sessions: sessionmaker[Session], rules: Rules, forget: Callable[[Sequence[Job]], None], count: Count
    ) -> None:
        self._sessions = sessions
        self._count = count
        self._rules = rules
        self._forget = forget  # told of the jobs that are done with
        self._results: list[Result] = []
        self._unbegun: list[Job] = []
        self._condition = threading.Condition()
        self._is_ending = False
        self._thread = threading.Thread(target=self._loop, name="settler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, result: Result) -> None:
        """Have this written down; returns at once."""
        with self._condition:
            self._results.append(result)
            self._condition.notify()

    def give_back(self, jobs: Sequence[Job]) -> None:
        """Have these go back to the queue as if nobody had claimed them; returns at once."""
        with self._condition:
            self._unbegun.extend(jobs)
            self._condition.notify()

    def end(self, timeout_seconds: float) -> bool:
        """Write what is left and end; whether that was done in time."""
        with self._condition:
            self._is_ending = True
            self._condition.notify()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        while True:
            with self._condition:
                while not (self._results or self._unbegun or self._is_ending):
                    self._condition.wait()
                results, unbegun = self._results[:MOST_AT_ONCE], self._unbegun[:MOST_AT_ONCE]
                del self._results[:MOST_AT_ONCE], self._unbegun[:MOST_AT_ONCE]
            if not results and not unbegun:
                return
            self._write_surely(self._write, results)
            self._forget([result.job for result in results])
            self._write_surely(self._return, unbegun)
            self._forget(unbegun)

    def _write_surely(self, write: Callable[[Sequence[Any]], None], entries: Sequence[Any]) -> None:
        """Write them all, however long the database is away; to forget an outcome is to send its message again."""
        while entries:
            try:
                return write(entries)
            except (OperationalError, InterfaceError) as error:
                # While the database is away nobody can claim the messages either, so there is no end to wait for.
                _log.warning("delivery.outcomes_wait", count=len(entries), error=type(error).__name__)
                time.sleep(DATABASE_PAUSE_SECONDS)
            except SQLAlchemyError:
                # One that cannot be written must not take the others with it.
                if len(entries) > 1:
                    for entry in entries:
                        self._write_surely(write, [entry])
                    return None
                # The lease ends by itself, and the message counts as one whose worker died.
                _log.exception("delivery.outcome_lost", message_id=str(entries[0].message_id))
                return None
        return None

    def _return(self, jobs: Sequence[Job]) -> None:
        with self._sessions.begin() as session:
            outbox.give_back(session, [job.lease for job in jobs])

    def _write(self, results: Sequence[Result]) -> None:
        with tallies.counted(self._sessions, self._count) as session:
            settled = settle(session, self._rules, results)
        bound = _log.bind()  # once, for it costs more than a line
        for result, status, reason in settled:
            report = result.report
            bound.info(
                f"message.{status}",
                message_id=str(result.message_id),
                request_id=result.job.message.request_id,
                reason=reason,
                route=result.job.route,
                phase=report.phase,
                code=report.code,
            )
