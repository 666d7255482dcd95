"""The pages for operators, followed with a Docker engine from top to bottom."""

import json
from collections.abc import Iterator
from itertools import pairwise
from shutil import copytree

import documents
import pytest
from documents import Block

from tests.engine.docker_desk import DockerDesk
from tests.engine.project import IN_COMPOSE, call, next_month, send, wait_for_status
from tests.journeys.processes import wait_until
from tests.stand_ins import ROOT

PAGES = {page.path: page for page in documents.pages(ROOT)}
ALONE, RESTORED = "http://127.0.0.1:8000", "http://127.0.0.1:8002"
DUMP, RESTORE, SNAPSHOT, WRITE_BACK = "pg_dump", "pg_restore", "VACUUM INTO", "email-service-restored"


# Both tests of containers, this one among them.
APART = "a block of sh: it needs root, the network and some minutes"


def block_with(word: str, blocks: list[Block]) -> int:
    [found] = [number for number, block in enumerate(blocks) if block.language == "sh" and word in block.content]
    return found


def parts(blocks: list[Block], *words: str) -> Iterator[list[Block]]:
    """The page, cut before each block that has one of these words."""
    cuts = [0, *(block_with(word, blocks) for word in words), len(blocks)]
    assert cuts == sorted(cuts)
    yield from (blocks[begin:end] for begin, end in pairwise(cuts))


@pytest.mark.timeout(1800)
def test_the_page_for_operators_can_be_followed_and_what_it_restores_is_there(desk: DockerDesk):
    project = desk.project
    begin, dump, restore, snapshot, write_back = parts(
        PAGES["docs/operations.md"].blocks, DUMP, RESTORE, SNAPSHOT, WRITE_BACK
    )
    desk.work_through(begin)
    key = project.key(*IN_COMPOSE)
    kept = send(key, send_at=next_month())
    desk.work_through(dump)
    lost = send(key, send_at=next_month())
    desk.work_through(restore)
    desk.start_with("")
    wait_for_status("scheduled", kept, key)
    assert call(f"/v1/messages/{lost['id']}", key).status_code == 404

    wait_until(lambda: project.inspect("email-service")["State"]["Health"]["Status"] == "healthy", 60)
    key = project.key("exec", "email-service")
    kept = send(key, ALONE, send_at=next_month())
    desk.work_through(snapshot)
    desk.work_through(write_back)
    volume, port = f"{WRITE_BACK}:/srv/var", f"{RESTORED.removeprefix('http://')}:8000"
    project.docker("run", "--detach", "--volume", volume, "--publish", port, "email-service")
    wait_until(lambda: is_serving(RESTORED), 60)
    wait_for_status("scheduled", kept, key, RESTORED)
    assert [reason for reason in desk.left_out if not reason.startswith(APART)] == []


def is_serving(at: str) -> bool:
    try:
        return call("/healthz", at=at).ok
    except OSError:
        return False


@pytest.mark.timeout(600)
def test_templates_of_ones_own_are_in_the_image_that_the_page_builds(desk: DockerDesk):
    project = desk.project
    project.docker("build", "--tag", "email-service", ".")
    [block] = [block for block in PAGES["docs/own-templates.md"].blocks if block.language == "dockerfile"]
    templates = desk.folder / "own" / "templates"
    copytree(desk.folder / "templates/email/welcome", templates / "welcome")
    (templates / "welcome" / "subject.txt").write_text("Ahoy {{ name }}")
    desk.work_through([block])
    shown = json.loads(project.docker("run", "--rm", "own", "template", "render", "welcome", "--var", "name=Ada"))
    assert shown["subject"] == "Ahoy Ada"
