"""What every benchmark stands on: a throw-away folder and database, the service's settings, its gunicorn and its queue.

Uses the service through its own commands and services only.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import figures

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

import servers  # noqa: E402 - the tests know how to find a PostgreSQL
from sqlalchemy import func, select, text  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from email_service.clients import service as clients  # noqa: E402
from email_service.kernel import orm  # noqa: E402
from email_service.kernel.crypto import Sealer  # noqa: E402
from email_service.messages import service as messages  # noqa: E402
from email_service.messages.models import Message  # noqa: E402
from email_service.messages.submission import Mailbox, Submission  # noqa: E402
from email_service.rendering import catalog  # noqa: E402
from email_service.rendering.files import Files  # noqa: E402
from email_service.settings import resource  # noqa: E402

SECRET = "a key for benchmarks, never for anything else"
VARIABLES = {
    "name": "Ada",
    "next_steps": ["Complete your profile.", "Create your first project.", "Invite the people you work with."],
}
SENDER = "bench@example.com"
_PROGRAM = str(Path(sys.executable).with_name("email-service"))
_CHUNK = 500


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="email-service-bench-") as name:
        yield Path(name)


@contextmanager
def postgres() -> Iterator[str]:
    """A database of our own on TEST_DATABASE_URL's server, else on loopback, else on a wheel's; dropped after."""
    server = servers.find_postgres()
    url = server.url()
    if url is None:
        sys.exit(f"There is no PostgreSQL: {servers.HOW_TO_START[servers.POSTGRES]}.")
    with servers.fresh_database(url) as database:
        print(f"PostgreSQL {server.origin}")
        yield database


@contextmanager
def redis() -> Iterator[str]:
    """An empty database of a Redis that is found like PostgreSQL, by TEST_REDIS_URL first; flushed after."""
    server = servers.find_redis()
    url = server.url()
    if url is None:
        sys.exit(f"There is no Redis: {servers.HOW_TO_START[servers.REDIS]}.")
    with servers.own_redis_database(url) as database:
        print(f"Redis {server.origin}")
        yield database


@contextmanager
def redis_if_any() -> Iterator[str | None]:
    """The same, or None where there is no Redis; says which, because counting in it costs each request round trips."""
    if servers.find_redis().url() is None:
        print("no Redis: each process counts quotas by itself")
        yield None
        return
    with redis() as database:
        print("quotas are counted in Redis")
        yield database


def sqlite(place: Path) -> str:
    return f"sqlite:///{place / 'bench.db'}"


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """This process's environment without any setting of the service, and with these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV"} or name.startswith("LC_")
    }
    return {
        **kept,
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET,
        "MAIL_DEFAULT_SENDER": SENDER,
        # High enough never to be met, and short enough that counting in memory stays as cheap as with the default.
        "API_RATE_LIMIT": "1000000/second",
        **settings,
    }


def prepare(place: Path, variables: Mapping[str, str]) -> str:
    """Migrate, create a client and return its API key."""
    _call(["migrate"], place, variables)
    created = _call(["client", "create", "bench", "--scope", "*", "--json"], place, variables)
    return str(json.loads(created)["api_key"])


def command(*words: str) -> list[str]:
    return [_PROGRAM, *words]


def gunicorn_command(application: str, port: int, *, workers: int, threads: int) -> list[str]:
    """gunicorn as `email-service run` starts it, for any application of ours or of the references."""
    # fmt: off
    return [
        sys.executable, "-m", "gunicorn", "--pythonpath", f"{ROOT},{ROOT / 'bench'}", "--bind", f"127.0.0.1:{port}",
        "--workers", str(workers), "--threads", str(threads), "--worker-class", "gthread", "--keep-alive", "30",
        "--no-control-socket", "--log-level", "warning", application,
    ]
    # fmt: on


def queue(database_url: str, count: int, **choices: Any) -> set[str]:
    """Put `count` welcome messages into the outbox, as `POST /v1/messages/batch` would; their Message-IDs."""
    intake = messages.Intake(
        catalog=catalog.load(Files(resource("templates") / "email")),
        sealer=Sealer(SECRET),
        default_sender=Mailbox(email=SENDER, name=""),
    )
    engine = orm.open_engine(database_url)
    ids: set[str] = set()
    for start in range(0, count, _CHUNK):
        figures.tell(f"queueing: {start} of {count}")
        with Session(engine) as session, session.begin():
            [client_id] = [client.id for client in clients.everyone(session)]
            drafts = [
                messages.prepare(intake, client_id, _welcome(number, choices))
                for number in range(start, min(start + _CHUNK, count))
            ]
            messages.accept_all(session, intake, drafts)
            ids |= {draft.row["message_id_header"].strip("<>") for draft in drafts}
    engine.dispose()
    return ids


def _welcome(number: int, choices: dict[str, Any]) -> Submission:
    to = Mailbox(email=f"reader{number}@example.com", name=f"Reader {number}")
    return Submission(template="welcome", to=to, variables=VARIABLES, **choices)


def count_by_status(database_url: str) -> dict[str, int]:
    engine = orm.open_engine(database_url)
    with engine.connect() as connection:
        rows = connection.execute(select(Message.status, func.count()).group_by(Message.status)).all()
    engine.dispose()
    return {str(status): int(number) for status, number in rows}


def execute(database_url: str, statement: str) -> None:
    engine = orm.open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _call(arguments: list[str], place: Path, variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        [_PROGRAM, *arguments], cwd=place, env=dict(variables), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"email-service {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
