"""What taking and sending mail depends on, one finding each, for `/readyz` and for `email-service doctor`.

Tells in plain words what is wrong and what to change, and no secret. Asks the database, the broker and the store of the
limits; mail servers and DNS are asked elsewhere.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from urllib.parse import urlsplit

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from email_service.extensions import limiter
from email_service.kernel.lanes import LANES
from email_service.settings import MailMode, Settings, resource

TOKEN_MAIL_SECONDS = 30.0  # what it is promised in (docs/operations.md)
_BROKER_SECONDS = 1.0
_BROKER_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}
_BY_DATABASE = ("migrations", "routes", "token_mail")


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # works, and somebody should know
    FAILURE = "failure"  # something has to be changed


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    name: str  # of the check
    level: Level
    detail: str  # a sentence, with what to change where that is something
    word: str | Mapping[str, str] = "ok"  # the same for a machine
    about: str = ""  # the route or the domain, where there are several


@dataclass(frozen=True)
class Probes:
    """What only others know how to find out; the composition root makes it known."""

    oldest_due_seconds: Callable[[Session], dict[str, float | None]]  # by lane; null: nothing waits there
    due_counts: Callable[[Session], dict[str, int]]  # by lane
    routes: Sequence[str]  # the names of the mail routes
    outages: Callable[[Session], dict[str, str]]  # the mail routes that are down, and for how long
    broker_answers: Callable[[], bool] | None = None  # null: there is no broker, delivery is in this process


@dataclass(frozen=True)
class Look:
    """How everything is at a moment."""

    findings: Sequence[Finding]
    oldest_due_seconds: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether mail can be taken: the rest is found by the sweep, counted here, or sent when the route is up."""
        return not any(
            each.level is Level.FAILURE and each.name in {"database", "migrations"} for each in self.findings
        )


def look(settings: Settings, glances: sessionmaker[Session], probes: Probes) -> Look:
    """Every check, each about a second at most beside what the database takes."""
    beside = [_look_at_broker(probes), _look_at_limits(settings), _look_at_mail(settings)]
    try:
        with glances() as session:
            heads = MigrationContext.configure(session.connection()).get_current_heads()
            migrations = _judge_version(heads[0] if heads else None)
            if migrations.level is Level.FAILURE:
                # What the others would ask of it may not be there yet.
                others = _unknown(_BY_DATABASE[1:], "Not known before the migration.")
                return Look([Finding("database", Level.OK, "It answers."), migrations, *others, *beside])
            outages, ages = probes.outages(session), probes.oldest_due_seconds(session)
    except SQLAlchemyError:
        lost = Finding(
            "database",
            Level.FAILURE,
            "It cannot be used: check DATABASE_URL and that it runs.",
            "unavailable",
        )
        return Look([lost, *_unknown(_BY_DATABASE, "Not known without the database."), *beside])
    found = [
        Finding("database", Level.OK, "It answers."),
        migrations,
        _judge_routes(outages),
        _judge_token_mail(ages[LANES[0]]),
    ]
    return Look([*found, *beside], ages)


def answers(url: str) -> bool:
    """Whether somebody takes a connection where this broker URL points; waits for a second at most."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or _BROKER_PORTS.get(parts.scheme, 0))
    try:
        socket.create_connection(address, _BROKER_SECONDS).close()
    except OSError:
        return False
    return True


def _unknown(names: Sequence[str], reason: str) -> list[Finding]:
    return [Finding(name, Level.WARNING, reason, "unknown") for name in names]


def _look_at_broker(probes: Probes) -> Finding:
    if probes.broker_answers is None:
        return Finding("broker", Level.OK, "None is set: web delivers by itself.", "none")
    if probes.broker_answers():
        return Finding("broker", Level.OK, "It answers.")
    detail = "It does not answer: check CELERY_BROKER_URL. Workers look by themselves meanwhile, once a second."
    return Finding("broker", Level.FAILURE, detail, "unavailable")


def _look_at_limits(settings: Settings) -> Finding:
    if limiter.storage.check():
        where = "Redis counts for all processes" if settings.redis_url else "each process counts for itself"
        return Finding("limits", Level.OK, f"Quotas are counted: {where}.")
    detail = "Redis does not answer: check REDIS_URL. Each process counts quotas for itself meanwhile."
    return Finding("limits", Level.FAILURE, detail, "local")


def _look_at_mail(settings: Settings) -> Finding:
    mode = settings.mail_mode
    details = {
        MailMode.SMTP: (Level.OK, "It is really sent."),
        MailMode.CAPTURE: (
            Level.WARNING,
            "It is captured and shown at /inbox, never sent: set MAIL_SERVER to send it.",
        ),
        MailMode.OFF: (Level.WARNING, "It is recorded and not sent: take MAIL_ENABLED=false away to send it."),
    }
    return Finding("mail", *details[mode], mode.value)


def _judge_version(version: str | None) -> Finding:
    heads, known = _revisions()
    if version in heads:
        return Finding("migrations", Level.OK, "The database is as this version needs it.")
    if version is None or version in known:
        detail = "The database is older than this version needs it: run `email-service migrate`."
        return Finding("migrations", Level.FAILURE, detail, "behind")
    # While a new version is rolled out, the old one goes on.
    detail = "The database is newer than this version: finish the upgrade, or restore the backup."
    return Finding("migrations", Level.WARNING, detail, "ahead")


def _judge_routes(outages: Mapping[str, str]) -> Finding:
    if not outages:
        return Finding("routes", Level.OK, "No mail route is known to be down.")
    told = "; ".join(f"{route} is {how}" for route, how in outages.items())
    return Finding("routes", Level.FAILURE, f"{told}: see what its mail server says below.", outages)


def _judge_token_mail(seconds: float | None) -> Finding:
    if seconds is None or seconds <= TOKEN_MAIL_SECONDS:
        return Finding("token_mail", Level.OK, "None waits for long.")
    detail = f"The oldest has been due for {seconds:.0f} s: start a worker with the lane token, or look at its log."
    return Finding("token_mail", Level.FAILURE, detail, "late")


@lru_cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    """The newest migrations, and all of them."""
    scripts = ScriptDirectory(str(resource("migrations")))
    return frozenset(scripts.get_heads()), frozenset(each.revision for each in scripts.walk_revisions())
