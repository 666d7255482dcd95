"""The migrations make exactly the tables of the models, on both databases, forth and back, also two at once."""

import subprocess
import sys
from collections.abc import Iterator

import flask_migrate
import pytest
import servers
import turns
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from email_service.clients.models import PUBLIC_CLIENT_ID, Client
from email_service.extensions import db
from email_service.kernel.orm import Base
from email_service.settings import resource
from tests.applications import SECRET_KEY, House, migrate, opened
from tests.token_mail import issue

UPGRADE = "from email_service.cli import main; import sys; sys.argv = ['email-service', 'migrate']; main()"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with servers.fresh_database(request.getfixturevalue("postgres_url")) as url:
            yield url


@pytest.fixture
def house(database_url) -> Iterator[House]:
    with opened(database_url) as house:
        yield house


@pytest.fixture
def ascii_url(postgres_url) -> Iterator[str]:
    """A database as a server makes it whose locale is C."""
    with servers.fresh_database(postgres_url, encoding="SQL_ASCII") as url:
        yield url


def tables(house: House) -> set[str]:
    with house.app.app_context():
        return set(inspect(db.engine).get_table_names())


def differences(house: House) -> list:
    """What a new revision would have to change."""
    with house.app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, Base.metadata)


def downgrade(house: House) -> None:
    with house.app.app_context():
        flask_migrate.downgrade(revision="base")


def test_a_database_of_another_encoding_is_refused_with_what_to_do(ascii_url):
    environ = {"DATABASE_URL": ascii_url, "SECRET_KEY": SECRET_KEY}
    ran = subprocess.run([sys.executable, "-c", UPGRADE], env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "its encoding is SQL_ASCII" in ran.stderr
    assert "ENCODING 'UTF8' TEMPLATE template0" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_empty_database_gets_every_table(house):
    migrate(house)
    assert tables(house) == set(Base.metadata.tables) | {"alembic_version"}


def test_models_and_migrations_describe_the_same_tables(house):
    migrate(house)
    assert differences(house) == []


def test_a_difference_would_be_noticed(house):
    migrate(house)
    house.execute("ALTER TABLE messages ADD COLUMN forgotten VARCHAR(10)")
    assert [name for name, *_ in differences(house)] == ["remove_column"]


def test_migrating_twice_changes_nothing(house):
    migrate(house)
    house.add_client()
    migrate(house)
    assert house.execute("SELECT name FROM clients ORDER BY name") == [("(public)",), ("shop",)]


def test_the_way_back_leaves_nothing_and_the_way_forth_works_again(house):
    migrate(house)
    house.add_client()
    downgrade(house)
    assert tables(house) == {"alembic_version"}
    migrate(house)
    assert differences(house) == []
    assert house.execute("SELECT name FROM clients") == [("(public)",)]


def test_the_client_of_public_requests_is_found_by_its_id_and_leaves_with_what_it_issued(house):
    """Both databases write a UUID in a form of their own."""
    migrate(house)
    with house.sessions() as session:
        assert session.get_one(Client, PUBLIC_CLIENT_ID).name == "(public)"
    issue(house, PUBLIC_CLIENT_ID)
    with house.app.app_context():
        flask_migrate.downgrade(revision="0002")
    assert house.execute("SELECT count(*) FROM clients") == house.execute("SELECT count(*) FROM messages") == [(0,)]


def test_messages_of_before_are_found_by_their_tags(house):
    with house.app.app_context():
        flask_migrate.upgrade(revision="0001")
    house.add_client()
    columns = {"status": "sent", "tags": '["a", "b", "a"]', "cc": "[]", "bcc": "[]", "headers": "{}", "metadata": "{}"}
    columns |= dict.fromkeys(("lane", "template", "template_version", "message_id_header"), "x")
    columns |= dict.fromkeys(("recipient_email", "recipient_name"), "x")
    columns |= dict.fromkeys(("attempt_count", "uncertain_count", "lost_lease_count"), 0)
    columns |= {"is_sensitive": False} | dict.fromkeys(("created_at", "round_began_at"), "2026-01-01 00:00:00.000000")
    house.execute(
        f"INSERT INTO messages (id, client_id, {', '.join(columns)})"
        f" SELECT id, id, {', '.join(f':{name}' for name in columns)} FROM clients",
        **columns,
    )
    migrate(house)
    assert house.execute(
        "SELECT tag FROM message_tags JOIN clients ON message_id = id AND client_id = id ORDER BY tag"
    ) == [
        ("a",),
        ("b",),
    ]


def test_suppressions_of_before_are_of_all_mail_and_those_of_one_category_leave_on_the_way_back(house):
    """F15: also what the version before writes meanwhile."""
    columns = "(key, email, reason, created_at)"
    values = "(:email, :email, 'manual', '2026-01-01 00:00:00.000000')"
    with house.app.app_context():
        flask_migrate.upgrade(revision="0006")
    house.execute(f"INSERT INTO suppressions {columns} VALUES {values}", email="before@example.com")
    migrate(house)
    house.execute(f"INSERT INTO suppressions {columns} VALUES {values}", email="meanwhile@example.com")
    house.execute(
        "INSERT INTO suppressions (category, key, email, reason, created_at)"
        " SELECT 'news', key, email, reason, created_at FROM suppressions"
    )
    kept = "SELECT email FROM suppressions WHERE category = '*' ORDER BY email"
    assert house.execute(kept) == [("before@example.com",), ("meanwhile@example.com",)]
    with house.app.app_context():
        flask_migrate.downgrade(revision="0006")
    assert house.execute("SELECT count(*), count(DISTINCT key) FROM suppressions") == [(2, 2)]


def test_the_revisions_are_one_line(house):
    """Two heads would make `migrate` refuse to choose."""
    script = ScriptDirectory(str(resource("migrations")))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_processes_may_migrate_at_the_same_time(database_url, house):
    """F15: each container of a deployment may run it on its start; both are held at the door and let in together."""
    answers = turns.migrate_at_once(house, [sys.executable, "-c", UPGRADE], 2)
    assert answers == [("The database is up to date.\n", 0)] * 2
    assert differences(house) == []
