"""F15: what a migration may do, how it waits for locks, and what a version does with a newer database (ADR 30)."""

import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
import flask_migrate
import pytest
import servers
import turns
from alembic.script import ScriptDirectory
from expansion import Complaint, Revision, split
from sqlalchemy import event, inspect, text
from structlog.testing import capture_logs

from email_service.cli import upgrade as upgrading
from email_service.extensions import db
from email_service.extensions import migrate as migrations
from email_service.settings import resource
from tests.applications import Api, House, migrate, opened
from tests.journeys.processes import wait_until

# No version ever served beside these.
BEFORE_THE_FIRST_RELEASE = {
    "0002": {Complaint.LOCKED},
    "0003": {Complaint.LOCKED, Complaint.CHANGED},
    "0006": {Complaint.LOCKED},
    "0007": {Complaint.LOCKED, Complaint.TAKEN, Complaint.REFUSED},
}
HEAD = "9999"
FILE = '''"""Made by a test."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{before}"


def upgrade() -> None:
{body}
'''
GOOD = """
    op.create_table("notes", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("text", sa.Text()))
    op.create_index("ix_notes_text", "notes", ["text"])
    op.add_column("messages", sa.Column("note", sa.String(40), nullable=True))
    op.add_column("messages", sa.Column("is_noted", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.get_context().autocommit_block():
        op.drop_index("ix_messages_note", "messages", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_messages_note", "messages", ["note"], postgresql_concurrently=True)
"""
BAD = """
    op.drop_column("messages", "held_by")
    op.create_index("ix_messages_held_by", "messages", ["locale"])
"""

UPGRADE = """
import sys
from email_service.cli import house, upgrade
from email_service.extensions import migrate
app = house.build()
migrate.directory = sys.argv[1]
assert upgrade.upgrade(app)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request, tmp_path) -> Iterator[House]:
    """An installation of today."""
    with database_of(request, request.param, tmp_path) as url, opened(url) as house:
        migrate(house)
        yield house


@pytest.fixture
def on_postgres(request) -> Iterator[House]:
    """The same; most that is here only PostgreSQL has."""
    with database_of(request, "postgresql") as url, opened(url) as house:
        migrate(house)
        yield house


@contextmanager
def database_of(request: pytest.FixtureRequest, kind: str, folder: Path = Path()) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'empty.db'}"
    else:
        with servers.fresh_database(request.getfixturevalue("postgres_url")) as url:
            yield url


@pytest.fixture
def come_to_know(tmp_path, monkeypatch) -> Callable[[str], None]:
    """One more revision, of this body, until the next application is opened."""

    def add(body: str) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(resource("migrations"), folder)
        before = ScriptDirectory(str(folder)).get_current_head()
        (folder / "versions" / f"{HEAD}_next.py").write_text(FILE.format(before=before, body=body))
        monkeypatch.setattr(migrations, "directory", str(folder))

    return add


def revisions_of(house: House) -> list[Revision]:
    """What migrating this database executes."""
    said: list[str] = []
    with house.app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *words: said.append(words[2]))
        flask_migrate.upgrade()
    return split(said)


def version_of(house: House) -> str:
    return house.execute("SELECT version_num FROM alembic_version")[0][0]


def columns_of(house: House, table: str) -> set[str]:
    with house.app.app_context():
        return {column["name"] for column in inspect(db.engine).get_columns(table)}


def test_the_version_before_can_live_with_every_migration_since_the_first_release(request):
    """F15: since then a migration adds; what takes away says in `contract` why nobody needs it any more."""
    with database_of(request, "postgresql") as url, opened(url) as house:
        revisions = revisions_of(house)
    scripts = ScriptDirectory(str(resource("migrations")))
    contracts = {each.revision: getattr(each.module, "contract", "") for each in scripts.walk_revisions()}
    assert [each.number for each in revisions] == sorted(contracts)
    found = {each.number: each.complaints(contracts[each.number]) for each in revisions}
    kinds = {number: {complaint for _, complaint in complaints} for number, complaints in found.items() if complaints}
    assert kinds == BEFORE_THE_FIRST_RELEASE, found


def test_a_migration_as_it_should_be_runs_on_both_databases_and_none_complains(house, come_to_know):
    come_to_know(GOOD)
    [revision] = revisions_of(house)
    assert version_of(house) == HEAD
    assert {"note", "is_noted"} <= columns_of(house, "messages")
    if house.parts.sessions.kw["bind"].dialect.name == "postgresql":
        assert len(revision.statements) == 6
        assert revision.complaints() == []
        assert house.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_messages_note'::regclass")[0][0]


def test_a_migration_as_it_should_not_be_is_noticed(on_postgres, come_to_know):
    come_to_know(BAD)
    [revision] = revisions_of(on_postgres)
    assert [complaint for _, complaint in revision.complaints()] == [Complaint.TAKEN, Complaint.LOCKED]
    assert [complaint for _, complaint in revision.complaints("0.2 stopped reading it")] == [Complaint.LOCKED]


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE clients", Complaint.TAKEN),
        ("ALTER TABLE messages DROP COLUMN locale", Complaint.TAKEN),
        ("ALTER TABLE messages RENAME locale TO language", Complaint.TAKEN),
        ("ALTER TABLE messages RENAME TO mails", Complaint.TAKEN),
        ("ALTER TABLE clients DROP CONSTRAINT uq_clients_name", Complaint.TAKEN),
        ("DROP INDEX CONCURRENTLY uq_tokens_subject_purpose_live", Complaint.TAKEN),
        ("ALTER TABLE messages ADD COLUMN note TEXT NOT NULL", Complaint.REFUSED),
        ("ALTER TABLE messages ADD COLUMN note TEXT DEFAULT NULL NOT NULL", Complaint.REFUSED),
        ("ALTER TABLE messages ALTER COLUMN locale SET NOT NULL", Complaint.REFUSED),
        ("ALTER TABLE messages ALTER COLUMN is_forced DROP DEFAULT", Complaint.REFUSED),
        ("ALTER TABLE messages ADD CONSTRAINT short CHECK (length(locale) < 9)", Complaint.REFUSED),
        ("CREATE UNIQUE INDEX CONCURRENTLY uq_notes ON messages (locale)", Complaint.REFUSED),
        ("ALTER TABLE messages ALTER COLUMN locale TYPE VARCHAR(9)", Complaint.CHANGED),
        ("ALTER TABLE messages ALTER COLUMN lane SET DEFAULT 'bulk'", Complaint.CHANGED),
        ("UPDATE messages SET locale = 'de'", Complaint.CHANGED),
        ("DELETE FROM messages", Complaint.LOCKED),
        ("CREATE INDEX ix ON messages (locale)", Complaint.LOCKED),
        ("DROP INDEX ix_messages_due", Complaint.LOCKED),
        ("ALTER TABLE messages ADD COLUMN note UUID DEFAULT gen_random_uuid()", Complaint.LOCKED),
        ("ALTER TABLE messages ADD COLUMN client UUID REFERENCES clients (id)", Complaint.LOCKED),
        ("ALTER TABLE messages ADD COLUMN note TEXT UNIQUE", Complaint.LOCKED),
        ("ALTER TABLE messages ADD COLUMN note INTEGER, DROP COLUMN locale", Complaint.LOCKED),
        ("ALTER TABLE messages ADD COLUMN note TEXT; DROP TABLE clients", Complaint.UNKNOWN),
        ("LOCK TABLE messages", Complaint.UNKNOWN),
        ("VACUUM FULL messages", Complaint.UNKNOWN),
        ("TRUNCATE messages", Complaint.UNKNOWN),
    ],
)
def test_what_the_version_before_could_not_live_with_is_named(statement, complaint):
    assert complaint in {each for _, each in Revision(HEAD, [statement]).complaints()}


def test_what_a_revision_itself_made_it_may_change():
    made = ["CREATE TABLE notes (id INTEGER NOT NULL)", "CREATE UNIQUE INDEX uq ON notes (id)", "DELETE FROM notes"]
    assert Revision(HEAD, made).complaints() == []
    assert len(Revision(HEAD, made[1:]).complaints()) == 4


def test_some_that_migrate_at_once_take_turns_also_when_an_index_is_built(on_postgres, come_to_know):
    """F15: building it waits for everybody who looks at the database, and must not wait for who waits for it."""
    come_to_know(GOOD)
    answers = turns.migrate_at_once(on_postgres, [sys.executable, "-c", UPGRADE, str(migrations.directory)], 3)
    assert answers == [("", 0)] * 3
    assert version_of(on_postgres) == HEAD


@contextmanager
def reading(house: House, table: str = "messages") -> Iterator[None]:
    """Somebody, such as a backup, who has looked at the messages and has not ended the transaction."""
    with house.sessions() as session:
        session.execute(text(f"SELECT count(*) FROM {table}"))
        yield


def test_a_migration_that_waits_for_a_lock_lets_the_others_pass_and_gets_it_in_the_end(on_postgres, come_to_know):
    """F15: an ALTER TABLE that waits keeps all others from the table, so it gives up, and tries again later."""
    come_to_know(GOOD)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%'"
    with ThreadPoolExecutor(1) as pool, capture_logs() as log:
        with reading(on_postgres):
            migrating = pool.submit(upgrading.upgrade, on_postgres.app)
            wait_until(lambda: on_postgres.execute(waiting) == [(1,)])
            # Answered although the reader goes on; behind an ALTER TABLE that does not give up it never would be.
            assert on_postgres.execute("SELECT count(*) FROM messages") == [(0,)]
            assert not migrating.done()
            wait_until(lambda: "migrations.locked" in {line["event"] for line in log})
            assert "note" not in columns_of(on_postgres, "messages")
        assert migrating.result(60)
    assert version_of(on_postgres) == HEAD


def test_a_migration_that_never_gets_its_lock_says_so_and_undoes_itself(on_postgres, come_to_know, monkeypatch):
    """F15"""
    monkeypatch.setattr(upgrading, "PAUSES_SECONDS", (0.1,))
    before = version_of(on_postgres)
    come_to_know(GOOD)
    with reading(on_postgres), pytest.raises(click.ClickException, match="others hold locks on its tables"):
        upgrading.upgrade(on_postgres.app)
    assert version_of(on_postgres) == before
    assert columns_of(on_postgres, "messages").isdisjoint({"note", "is_noted"})
    assert on_postgres.execute("SELECT to_regclass('notes')") == [(None,)]
    assert upgrading.upgrade(on_postgres.app)


def test_the_revisions_before_the_one_that_gets_no_lock_stay(on_postgres, come_to_know, monkeypatch):
    """Each is a transaction of its own, so that none holds its locks for the sake of the others."""
    monkeypatch.setattr(upgrading, "PAUSES_SECONDS", ())
    before = version_of(on_postgres)
    with on_postgres.app.app_context():
        flask_migrate.downgrade(revision="0007")
    come_to_know('    op.add_column("suppressions", sa.Column("note", sa.Text(), nullable=True))')
    with reading(on_postgres, "suppressions"), pytest.raises(click.ClickException, match="others hold locks"):
        upgrading.upgrade(on_postgres.app)
    assert version_of(on_postgres) == before


def test_an_index_that_was_not_finished_is_made_anew(on_postgres, come_to_know):
    """It is built outside of a transaction, so what was broken off leaves one that nobody uses."""
    come_to_know(GOOD)
    on_postgres.execute("CREATE INDEX ix_messages_note ON messages (locale)")
    assert upgrading.upgrade(on_postgres.app)
    definition = on_postgres.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_messages_note'")[0][0]
    assert "(note)" in definition


def test_a_version_leaves_a_database_alone_that_is_newer_and_serves_on_it(house, come_to_know):
    """F15: an old process that starts anew while the new version is rolled out, or after that was taken back."""
    come_to_know(GOOD)
    assert upgrading.upgrade(house.app)
    with opened(house.app.config["SQLALCHEMY_DATABASE_URI"]) as old, capture_logs() as log:
        assert not upgrading.upgrade(old.app)
        assert [line["event"] for line in log] == ["migrations.ahead"]
        api = Api(old, old.add_client())
        assert (api.get("/readyz").status_code, api.send().status_code) == (200, 202)
    assert version_of(house) == HEAD


def test_a_version_whose_turn_comes_after_a_later_ones_leaves_what_that_made(on_postgres, come_to_know):
    """F15: an old process starts anew while the new version migrates; with nothing to do it waits for no turn."""
    with turns.held(on_postgres):
        assert upgrading.upgrade(on_postgres.app)
    come_to_know(GOOD)
    with ThreadPoolExecutor(1) as pool:
        with turns.held(on_postgres):
            starting = pool.submit(upgrading.upgrade, on_postgres.app)
            wait_until(lambda: on_postgres.execute(turns.WAITING) == [(1,)])
            on_postgres.execute("UPDATE alembic_version SET version_num = 'later'")
        assert starting.result(60) is False
    assert version_of(on_postgres) == "later"


def test_a_version_on_a_database_that_is_older_says_so_whatever_it_would_ask_of_it(house):
    """F15: in plain words, though the rest cannot be asked yet; a load balancer passes it by."""
    with house.app.app_context():
        flask_migrate.downgrade(revision="0001")
    with opened(house.app.config["SQLALCHEMY_DATABASE_URI"]) as new:
        ready = Api(new, "").get("/readyz")
    assert ready.status_code == 503
    told = {name: ready.json["checks"][name] for name in ("database", "migrations", "routes", "token_mail")}
    assert told == {"database": "ok", "migrations": "behind", "routes": "unknown", "token_mail": "unknown"}
