"""What accepting, claiming, listing, reading and purging cost as the tables grow, each beside the smallest table.

.venv/bin/python bench/growth.py [--quick]
"""

import argparse
import base64
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import crowd
import figures
import processes
import stage
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from email_service.clients.models import Client
from email_service.delivery import outbox
from email_service.kernel import clock, orm
from email_service.kernel.crypto import Sealer
from email_service.kernel.lanes import LANES
from email_service.messages import listing
from email_service.messages import service as messages
from email_service.messages.listing import MessageFilter
from email_service.messages.models import Message
from email_service.messages.submission import Mailbox, Submission
from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.retention.batches import START, delete_messages
from email_service.retention.policy import Policy
from email_service.retention.purge import BATCH
from email_service.settings import resource

SIZES, QUICK_SIZES = (10_000, 1_000_000, 5_000_000), (1_000, 10_000, 50_000)
MOST = 1.3
LEASE_SECONDS = 180.0
PURGES = 15  # of a batch; half of the smallest table is old, and that has to suffice for all of them
LANE = "transactional"
_KNOWN = 200
# A cursor is the last id of the page before; this one leads sixty days back.
_DEEP = base64.urlsafe_b64encode(orm.first_id_at(clock.now() - timedelta(days=60)).bytes).decode().rstrip("=")
POLICY = Policy(retention_days=90, content_retention_days=7, audit_retention_days=365)


@dataclass
class Table:
    """One database of a size, and what was measured on it: for each operation a median of each round, in ms."""

    size: int
    engine: Engine
    intake: messages.Intake
    purged: int
    clients: list[UUID] = field(default_factory=list)
    known: list[tuple[UUID, UUID]] = field(default_factory=list)  # client and message
    medians: dict[str, list[float]] = field(default_factory=dict)
    place: UUID = START

    def prepare(self) -> None:
        """Make messages due, and choose what is asked for."""
        with Session(self.engine) as session:
            self.clients = list(session.scalars(select(Client.id).where(Client.name.startswith("client-"))))
            for number in range(_KNOWN):
                since = orm.first_id_at(clock.now() - timedelta(days=80 * (number + 1) / _KNOWN))
                statement = (
                    select(Message.client_id, Message.id).where(Message.id > since).order_by(Message.id).limit(1)
                )
                self.known.append(tuple(session.execute(statement).one()))
        for number in range(crowd.WAITING):
            with Session(self.engine) as session, session.begin():
                for client_id in self.clients:
                    messages.accept(session, self.intake, client_id, _submission(f"waiting-{number}"))


def operations(table: Table) -> dict[str, Callable[[int], Any]]:
    """What is measured; each takes its own number, and does one thing to one client."""

    def listed(**wanted: Any) -> Callable[[int], Any]:
        def find(number: int) -> Any:
            client_id = table.clients[number % crowd.CLIENTS]
            with Session(table.engine) as session:
                return listing.find_messages(session, client_id, MessageFilter(limit=50, **wanted))

        return find

    return {
        "accept": lambda number: _accept(table, number),
        "find who is due": lambda _: _ask(table, lambda session: outbox.find_due_clients(session, LANE)),
        "claim 100, give back": lambda number: _claim(table, number),
        "oldest due": lambda _: _ask(table, lambda session: [outbox.oldest_due_seconds(session, x) for x in LANES]),
        "count due": lambda _: _ask(table, lambda session: [outbox.count_due(session, lane) for lane in LANES]),
        "list": listed(),
        "list, deep": listed(cursor=_DEEP),
        "list, status": listed(status="failed"),
        "list, recipient": listed(recipient="regular@example.com"),
        "list, reference": listed(client_reference="order-400"),
        "list, frequent tag": listed(tag="signup"),
        "list, rare tag": listed(tag="rare"),
        "list, tag, deep": listed(tag="signup", cursor=_DEEP),
        "list, rare template": listed(template="invitation"),
        "get": lambda number: _get(table, number),
        "purge": lambda _: _purge(table),
    }


def measure(tables: Sequence[Table], rounds: int, repeats: int) -> None:
    """Each operation on one table after the other, again and again, so that a busy moment weighs on all of them.

    The first round only fills the caches. Purging comes last, because it takes away what the others look for.
    """
    names = list(operations(tables[0]))
    plan = [(number, name, repeats) for number in range(rounds + 1) for name in names if name != "purge"]
    plan += [(number, "purge", 1) for number in range(PURGES)]
    for number, name, times in plan:
        spent: list[list[float]] = [[] for _ in tables]
        for each in range(times):
            for place in sorted(range(len(tables)), reverse=bool(each % 2)):
                operate = operations(tables[place])[name]
                spent[place].append(_milliseconds(operate, number * times + each))
        for table, values in zip(tables, spent, strict=True):
            if number:
                table.medians.setdefault(name, []).append(figures.median(values))
        figures.tell(f"round {number}: {name}")
    figures.clear()


def report(tables: Sequence[Table]) -> list[str]:
    """Print the table; the operations that grew by more than is allowed."""
    sizes = "".join(f"{table.size:>14,}" for table in tables)
    print(f"{'median, ms':24}{sizes}   last by first, round by round")
    grown = []
    for name in tables[0].medians:
        first, last = tables[0].medians[name], tables[-1].medians[name]
        cells = "".join(f"{figures.median(table.medians[name]):14.2f}" for table in tables)
        print(f"{name:24}{cells}   {figures.ratios(last, first)}")
        if figures.median([one / other for one, other in zip(last, first, strict=True)]) > MOST:
            grown.append(name)
    return grown


def _accept(table: Table, number: int) -> None:
    with Session(table.engine, expire_on_commit=False) as session, session.begin():
        client_id = table.clients[number % crowd.CLIENTS]
        messages.accept(session, table.intake, client_id, _submission(f"new-{time.monotonic_ns()}"))


def _claim(table: Table, number: int) -> None:
    with Session(table.engine) as session, session.begin():
        leases = outbox.claim(session, LANE, table.clients[number % crowd.CLIENTS], 100, LEASE_SECONDS)
    assert leases, "nothing was due"
    with Session(table.engine) as session, session.begin():
        outbox.give_back(session, leases)


def _get(table: Table, number: int) -> Message:
    client_id, message_id = table.known[number % len(table.known)]
    with Session(table.engine) as session:
        return messages.get(session, client_id, message_id)


def _purge(table: Table) -> None:
    with Session(table.engine) as session, session.begin():
        batch = delete_messages(session, POLICY.cutoffs(), table.place, table.purged)
    assert batch.removed == table.purged, f"only {batch.removed} were old"
    table.place = batch.cursor or START


def _ask(table: Table, question: Callable[[Session], Any]) -> Any:
    with Session(table.engine) as session:
        return question(session)


def _milliseconds(operate: Callable[[int], Any], number: int) -> float:
    begun_at = time.perf_counter()
    operate(number)
    return (time.perf_counter() - begun_at) * 1000


def _submission(reader: str) -> Submission:
    to = Mailbox(email=f"{reader}@example.com", name="A Reader")
    return Submission(template="welcome", to=to, variables=stage.VARIABLES, tags=("signup",))


@contextmanager
def filled(size: int, purged: int) -> Iterator[Table]:
    """A database with this many messages in it."""
    intake = messages.Intake(
        catalog=catalog.load(Files(resource("templates") / "email")),
        sealer=Sealer(stage.SECRET),
        default_sender=Mailbox(email=stage.SENDER, name=""),
    )
    with stage.folder() as place, stage.postgres() as database:
        stage.prepare(place, stage.environment(database))
        begun_at = time.monotonic()
        crowd.build(database, size)
        engine = orm.open_engine(database)
        table = Table(size, engine, intake, purged)
        table.prepare()
        with engine.connect() as connection:
            megabytes = connection.exec_driver_sql("SELECT pg_database_size(current_database()) / 1000000").scalar()
        print(f"{size:,} messages: {megabytes:,} MB, made in {time.monotonic() - begun_at:.0f} s", flush=True)
        yield table
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables; their figures mean little")
    parser.add_argument("--sizes", help="numbers of messages, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="rounds through all sizes (%(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="of each operation in a round (%(default)s)")
    options = parser.parse_args()
    sizes = tuple(map(int, options.sizes.split(","))) if options.sizes else QUICK_SIZES if options.quick else SIZES
    rounds, repeats, purged = (2, 20, 25) if options.quick else (options.rounds, options.repeats, BATCH)
    processes.end_politely_when_told()
    figures.introduce(f"growth: {rounds} rounds of {repeats} of each operation, sizes interleaved")
    with ExitStack() as stack:
        tables = [stack.enter_context(filled(size, purged)) for size in sizes]
        measure(tables, rounds, repeats)
        grown = report(tables)
    print(f"claim: nothing is more than {MOST} times slower at {sizes[-1]:,} than at {sizes[0]:,}: ", end="")
    print(f"BROKEN by {', '.join(grown)}" if grown else "kept")


if __name__ == "__main__":
    main()
