"""`email-service requeue`: what came to nothing is put back in batches, as an operator types it."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update

from email_service.audit.models import AuditEvent
from email_service.kernel import clock
from email_service.kernel.orm import Base, new_id
from email_service.messages import life, requeue
from email_service.messages.life import Terms
from email_service.messages.models import Message, MessageContent
from email_service.messages.requeue import Wanted
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests.applications import CATALOG, SECRET_KEY

COMMAND = Path(sys.executable).with_name("email-service")
DAY = timedelta(days=1)
WIPED = "The message's content is not kept any more; send a new message."


def typed(house, *words: object, answer: str = "") -> subprocess.CompletedProcess[str]:
    """`email-service requeue` with these words, on the house's own database."""
    url = house.app.config["SQLALCHEMY_DATABASE_URI"]
    environ = {"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY, "PATH": "/usr/bin:/bin"}
    command = [COMMAND, "requeue", *map(str, words)]
    return subprocess.run(command, input=answer, env=environ, capture_output=True, text=True, check=False, cwd="/")


def accept(house, client_id, status: str, **fields):
    message_id = house.accept(client_id, **fields)
    become(house, message_id, status=status, due_at=None)
    return message_id


def become(house, message_id, **values) -> None:
    house.execute(update(Message).where(Message.id == message_id).values(**values))


def statuses(house, *ids) -> list[str]:
    return [house.message(each).status for each in ids]


def put_back(house, **wanted) -> requeue.Batch:
    with house.sessions.begin() as session:
        return requeue.requeue(session, Terms(catalog=CATALOG), Wanted(**wanted))


@pytest.mark.parametrize("status", ["failed", "bounced", "uncertain", "expired"])
def test_a_status_is_put_back_and_nothing_else(either, add_client, status):
    client_id = add_client(either)
    every = {each: accept(either, client_id, each) for each in ("failed", "bounced", "uncertain", "expired", "sent")}
    assert put_back(either, statuses=(status,)).moved == {"queued": 1}
    assert {name for name, each in every.items() if either.message(each).status == "queued"} == {status}
    assert either.deliver() == 1


def test_filters_narrow_down_what_is_put_back(either, add_client):
    shop, blog = add_client(either), add_client(either, "blog")
    mine, theirs = accept(either, shop, "failed"), accept(either, blog, "failed")
    other = accept(either, shop, "failed", template="email-verification", variables={"action_url": "https://a.test/"})
    old = accept(either, shop, "failed")
    become(either, old, created_at=clock.now() - 2 * DAY)
    either.execute("UPDATE messages SET is_sensitive = false")
    for wanted, found in (
        ({"client_id": blog}, {theirs}),
        ({"template": "email-verification"}, {other}),
        ({"until": clock.now() - DAY}, {old}),
        ({"since": clock.now() - DAY, "client_id": shop, "template": "welcome"}, {mine}),
        ({"message_ids": (mine, old)}, {mine, old}),
        ({"message_ids": (mine, theirs), "client_id": blog}, {theirs}),
    ):
        assert put_back(either, **wanted).moved == {"queued": len(found)}, wanted
        assert {each for each in (mine, theirs, other, old) if either.message(each).status == "queued"} == found
        either.execute("UPDATE messages SET status = 'failed', due_at = NULL")


def test_what_cannot_start_over_is_counted_with_the_reason(either, add_client):
    client_id = add_client(either)
    wiped, good, sent, replaced = (accept(either, client_id, "failed") for _ in range(4))
    either.execute(delete(MessageContent).where(MessageContent.message_id == wiped))
    become(either, sent, status="sent")
    become(either, replaced, status="uncertain", due_at=clock.now() + DAY)
    with either.sessions.begin() as session:
        life.supersede(session, replaced)
    batch = put_back(either, message_ids=(wiped, good, sent, replaced))
    assert batch.moved == {"queued": 1}
    assert sorted(batch.kept.values()) == [1, 1, 1]
    assert batch.kept[WIPED] == 1
    assert statuses(either, wiped, good, sent, replaced) == ["failed", "queued", "sent", "uncertain"]


def test_a_suppressed_address_stays_suppressed(either, add_client):
    message_id = accept(either, add_client(either), "bounced")
    with either.sessions.begin() as session:
        suppressions.suppress(session, "ada@example.com", Reason.HARD_BOUNCE, message_id)
    assert put_back(either, statuses=("bounced",)).moved == {"suppressed": 1}


def test_an_operator_puts_more_than_a_batch_back_and_sees_how_it_goes(either, add_client):
    client_id = add_client(either)
    copy(either, accept(either, client_id, "failed"), 249)
    ran = typed(either, "--client", "shop", "--status", "failed", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines() == ["200 of 250", "250 of 250"]
    assert ran.stdout.splitlines() == ["Found 250 failed.", "Requeued 1.", f"Left 249 as they are: {WIPED}"]
    events = either.execute(select(AuditEvent.name, AuditEvent.actor, AuditEvent.data))
    assert [tuple(each) for each in events] == [
        ("message.requeued", "operator", {"before": "failed", "after": "queued"}),
    ]


def test_no_more_than_the_limit_are_put_back_the_oldest_first(house, client_id):
    first, second, third = (accept(house, client_id, "failed") for _ in range(3))
    assert typed(house, "--status", "failed", "--limit", 2, "--yes").returncode == 0
    assert statuses(house, first, second, third) == ["queued", "queued", "failed"]


def test_a_dry_run_and_a_no_change_nothing(house, client_id):
    failed, expired = accept(house, client_id, "failed"), accept(house, client_id, "expired")
    dry = typed(house, "--template", "welcome", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "Found 1 expired, 1 failed.\n")
    refused = typed(house, "--template", "welcome", answer="n\n")
    assert refused.returncode == 1
    assert "Put 2 back into the queue?" in refused.stderr
    assert statuses(house, failed, expired) == ["failed", "expired"]
    assert house.execute(select(func.count()).select_from(AuditEvent)) == [(0,)]
    assert typed(house, "--template", "welcome", answer="y\n").returncode == 0
    assert statuses(house, failed, expired) == ["queued", "queued"]


def test_ids_are_put_back_and_those_that_cannot_be_are_told(house, client_id):
    failed, sent = accept(house, client_id, "failed"), accept(house, client_id, "sent")
    ran = typed(house, failed, sent, new_id(), "--yes")
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.splitlines()
    assert told[:3] == [
        "Found 1 failed, 1 sent.",
        "1 of the ids: no such message, or another filter leaves it out.",
        "Requeued 1.",
    ]
    assert told[3].startswith("Left 1 as they are: The message is sent;")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "Say which messages"),
        (["--limit", 5, "--yes"], "Say which messages"),
        (["--status", "sent"], "sent"),
        (["--since", "yesterday"], "2026-11-21T09:30:00Z"),
        (["--since", "2026-11-21T09:30:00"], "2026-11-21T09:30:00Z"),
        (["--client", "nobody"], "client list"),
        (["not-an-id"], "not-an-id"),
    ],
)
def test_what_means_nothing_is_refused_with_the_next_step(house, words, complaint):
    refused = typed(house, *words)
    assert refused.returncode != 0
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr


def copy(house, message_id, times: int) -> None:
    """More messages like this one, without its content."""
    table = Base.metadata.tables["messages"]
    with house.sessions.begin() as session:
        row = dict(session.execute(select(table).where(table.c.id == message_id)).one()._mapping)
        session.execute(insert(table), [{**row, "id": new_id()} for _ in range(times)])
