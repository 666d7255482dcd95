"""`email-service purge` as an operator types it."""

import re
import signal
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from email_service.clients import service as clients
from email_service.kernel.orm import open_engine
from email_service.messages.models import Event, Message
from tests.aged import add_many_aged
from tests.journeys.processes import House, wait_until


@pytest.fixture
def installation(house) -> House:
    made = house()
    assert made.command("migrate").returncode == 0
    return made


@pytest.fixture
def session(installation):
    engine = open_engine(f"sqlite:///{installation.folder}/var/email_service.db")
    with Session(engine) as session:
        yield session
    engine.dispose()


def fill(session: Session, *days: float) -> None:
    client_id: UUID = clients.create(session, "shop", ["*"])[0].id
    add_many_aged(session, client_id, days)
    session.commit()


def number(session: Session, table: type = Message) -> int:
    found = session.scalar(select(func.count()).select_from(table))
    session.rollback()  # SQLite has one transaction at a time that may write
    return found


def numbers(output: str) -> dict[str, int]:
    return {
        name.strip(): int(each) for name, each in re.findall(r"(?m)^([a-z ]+?) +(\d+) (?:deleted|would go)$", output)
    }


def test_it_deletes_what_is_old_and_says_how_much(installation, session):
    fill(session, 100, 95, 30, 1)
    ran = installation.command("purge")
    assert ran.returncode == 0, ran.stderr
    assert numbers(ran.stdout) | {"contents": 3, "messages": 2} == numbers(ran.stdout)
    assert number(session) == 2
    assert numbers(installation.command("purge").stdout) == dict.fromkeys(numbers(ran.stdout), 0)


def test_a_dry_run_counts_the_same_and_deletes_nothing(installation, session):
    fill(session, 100, 95, 30)
    ran = installation.command("purge", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert number(session) == 3
    assert numbers(ran.stdout)["messages"] == 2
    assert numbers(installation.command("purge").stdout) == numbers(ran.stdout)


def test_it_takes_the_days_from_the_settings_or_from_the_command(installation, session):
    fill(session, 30, 20, 10, 2)
    assert numbers(installation.command("purge", "--dry-run", RETENTION_DAYS="25").stdout)["messages"] == 1
    assert numbers(installation.command("purge", "--dry-run", "--days", "15").stdout)["messages"] == 2
    told = numbers(installation.command("purge", "--days", "1").stdout)
    assert (told["messages"], told["contents"], number(session)) == (4, 4, 0)


@pytest.mark.parametrize("days", ["0", "-1", "x", "5000"])
def test_a_number_of_days_that_cannot_be_meant_is_refused(installation, session, days):
    fill(session, 30)
    refused = installation.command("purge", "--days", days)
    assert refused.returncode == 2
    assert "--days" in refused.stderr
    assert number(session) == 1


def test_it_can_be_stopped_and_goes_on_when_it_is_run_again(installation, session):
    """F12"""
    fill(session, *[100] * 4_000)
    process = installation.start("purge")
    wait_until(lambda: _is_held_amid(session, 4_000))
    process.popen.send_signal(signal.SIGINT)
    session.rollback()
    assert process.wait() == 1
    left = number(session)
    assert 0 < left < 4_000
    assert number(session, Event) == 2 * left
    told = process.log()
    assert numbers(told)["messages"] == 4_000 - left
    assert "run it again to go on" in told
    assert numbers(installation.command("purge").stdout)["messages"] == left
    assert number(session) == 0


def _is_held_amid(session: Session, most: int) -> bool:
    """Whether some of so many messages are gone; the transaction that saw it goes on, and nobody deletes meanwhile."""
    is_amid = session.scalar(select(func.count()).select_from(Message)) < most
    if not is_amid:
        session.rollback()
    return is_amid
