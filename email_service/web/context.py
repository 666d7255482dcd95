"""What belongs to one request: its id, its transaction, and the way to the parts that the application was built from.

The transaction here is the only one that commits on behalf of HTTP; workers are woken after that, never before.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from flask import Flask, Request, Response, current_app, g, request
from flask.sessions import SessionInterface
from sqlalchemy import Connection
from sqlalchemy.orm import Session, sessionmaker

from email_service.clients.keyring import Keyring
from email_service.kernel import orm, tallies
from email_service.kernel.figures import Figures
from email_service.kernel.rows import NewRow, insert_together
from email_service.kernel.tallies import Tally
from email_service.kernel.traces import NoTraces, RequestSpan, Traces

_INTERNAL = "/v1/"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_Part = TypeVar("_Part")


class Parts:
    """What `create_app` built, found by type. One for each application."""

    def __init__(
        self, sessions: sessionmaker[Session], glances: sessionmaker[Session], wake: Callable[[set[str]], None]
    ) -> None:
        self.sessions = sessions
        self.glances = glances  # sessions in which every statement is a transaction of its own
        self.wake = wake
        self.keyring = Keyring()
        self.figures = Figures()
        self.traces: Traces = NoTraces()
        self.note_breach: Callable[[str, str, str], None] = note_nothing  # of a quota: its scope, its key and its text
        self._by_type: dict[type, object] = {}

    def add(self, *parts: object) -> None:
        """Make each part known under its own class."""
        self._by_type |= {type(part): part for part in parts}

    def get(self, cls: type[_Part]) -> _Part:
        """The part of this class."""
        found = self._by_type[cls]
        assert isinstance(found, cls)
        return found


class SyncFlask(Flask):
    """Flask without coroutines: it does not ask a dozen functions of each request whether they are any."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return func


class NoSessions(SessionInterface):
    """No cookies: neither read nor looked for nor set, by no page and no call."""

    def open_session(self, app: Flask, request: Request) -> None:
        """Nobody has one."""


def install(app: Flask) -> None:
    """Give every request an id and an end; before any extension, so that their answers are named too."""
    app.session_interface = NoSessions()
    app.before_request(_begin)
    app.after_request(_name_request)
    app.after_request(_end_span)
    app.teardown_request(_end)


def parts() -> Parts:
    """The parts of the application that serves this request."""
    return parts_of(current_app)


def parts_of(app: Flask) -> Parts:
    """The parts that the application was built from."""
    found: Parts = app.extensions["email_service"]
    return found


def part(cls: type[_Part]) -> _Part:
    """The one part of this class."""
    return parts().get(cls)


def trace_parent() -> str | None:
    """What belongs to this request names this as its parent; None where nobody traces."""
    span: RequestSpan | None = g.get("span")
    return None if span is None else span.trace_parent


def session() -> Session:
    """The session of this request; what it did is lost unless `transaction` ends well."""
    if "session" not in g:
        g.session = parts().sessions()
    found: Session = g.session
    return found


@contextmanager
def glance() -> Iterator[Session]:
    """A session for reading only: every statement is a transaction of its own, and nothing is locked meanwhile."""
    with parts().glances() as current:
        yield current


@contextmanager
def look() -> Iterator[Connection]:
    """The same without objects: a bare connection, for statements that are built once."""
    with parts().glances.kw["bind"].connect() as connection:
        yield connection


@contextmanager
def transaction() -> Iterator[Session]:
    """The request's one transaction: committed at the end of the block, and then the workers are woken."""
    current = session()
    yield current
    current.commit()
    count(*tallies.take(current))
    if lanes := orm.take_lanes_to_wake(current):
        parts().wake(lanes)


def count(*true: Tally) -> None:
    """These things have happened, and are committed where anything was written."""
    parts().figures.count(true)


@contextmanager
def single_write() -> Iterator[Connection]:
    """A connection for reading, and for one statement that writes at the very end; whoever uses it wakes the workers.

    On PostgreSQL that statement is a transaction of its own, which spares the round trips that begin and commit one; on
    SQLite, where it may be several, all is one transaction as ever.
    """
    if parts().glances.kw["bind"].dialect.name == "postgresql":
        with look() as connection:
            yield connection
    else:
        with transaction() as current:
            yield current.connection()


def write_apart(rows: Sequence[NewRow]) -> None:
    """Insert rows that stay although the request fails, and nothing else of what it did until now."""
    if "session" in g:
        g.session.rollback()
        tallies.take(g.session)
    with single_write() as connection:
        insert_together(connection, rows)


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID_FORM.fullmatch(given) else str(orm.new_id())
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    _begin_span()


def _name_request(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id") or str(orm.new_id())
    return response


def _begin_span() -> None:
    # A stranger decides neither what belongs together nor what is worth keeping.
    told = request.headers.get("traceparent") if request.path.startswith(_INTERNAL) else None
    g.span = parts().traces.begin_request(told)
    if g.span is not None:
        structlog.contextvars.bind_contextvars(trace_id=g.span.trace_parent.split("-")[1])


def _end_span(response: Response) -> Response:
    span: RequestSpan | None = g.pop("span", None)
    if span is not None:
        rule = request.url_rule
        words: dict[str, str | int] = {
            "http.request.method": request.method if rule else "_OTHER",
            "http.response.status_code": response.status_code,
            "request_id": g.request_id,
            **({"http.route": rule.rule} if rule else {}),
        }
        span.end(words, is_failed=response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return response


def _end(_error: BaseException | None) -> None:
    current: Session | None = g.pop("session", None)
    if current is not None:
        current.close()


def note_nothing(_scope: str, _key: str, _allowed: str) -> None:
    """For applications that nobody audits."""


def wake_nobody(_lanes: Iterable[str]) -> None:
    """For applications whose messages are found by somebody else's sweep."""
