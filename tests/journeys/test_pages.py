"""Every block of every documentation page: run as its reader would, or marked in the page with the reason why not.

`docs/api.md` is run by `tests/test_docs.py`, call by call and without processes; the page of the client for Python has
its own tests.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import documents
import pytest
from documents import Page

from tests import desk
from tests.desk import Desk
from tests.journeys.conftest import PAGE
from tests.journeys.private_servers import PrivatePostgres
from tests.journeys.processes import House
from tests.stand_ins import ROOT

MIGRATE = ["migrate"]
CREATE = ["client", "create", "development", "--scope", "*"]
SEND = ["send", "welcome", "ada@example.com", "--var", "name=Ada"]
OPERATIONS = "docs/operations.md"
ELSEWHERE = {"docs/api.md", "clients/python/README.md", OPERATIONS}
PAGES = documents.pages(ROOT)
TO_RUN = [page for page in PAGES if page.blocks and page.path not in ELSEWHERE]


@contextmanager
def desks(folder: Path) -> Iterator[Callable[..., Desk]]:
    """A desk with an installation of its own."""
    with House(folder, {"DATABASE_URL": f"sqlite:///{folder}/var/email_service.db"}) as house:
        yield lambda **options: Desk(folder, house, **options)


@pytest.fixture
def at_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    with desks(tmp_path) as build:
        yield build


@pytest.fixture(scope="module")
def used_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """For pages that go wrong: they leave nothing that the next one could notice."""
    with desks(tmp_path_factory.mktemp("desk")) as build:
        yield build()


@pytest.fixture
def tell_page(request: pytest.FixtureRequest) -> Callable[[Page, Desk], None]:
    """Print what was run of a page and what was not; the summary of the run repeats it."""

    def say(page: Page, at: Desk) -> None:
        shown = at.done.pop("text", 0)
        done = ", ".join(f"{count} {language}" for language, count in sorted(at.done.items()))
        lines = [
            f"{page.path}: run {done or 'nothing'}" + (f"; {shown} show output" if shown else ""),
            *(f"  not run: {reason}" for reason in at.left_out),
        ]
        request.node.user_properties += [(PAGE, line) for line in lines]

    return say


@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: page.path)
def test_a_page_can_be_followed_from_top_to_bottom(page, at_desk, tell_page):
    at = at_desk()
    at.work_through(page.blocks)
    tell_page(page, at)


@pytest.mark.timeout(300)
def test_the_page_for_operators_can_be_followed_and_what_it_restores_is_sent(at_desk, own_postgres, tell_page):
    page = next(page for page in PAGES if page.path == OPERATIONS)
    at = at_desk(tools=Path(own_postgres.command[0]).parent, starts_service=False, run_sql=_on(own_postgres))
    own_postgres.create_database("email_service")
    with own_postgres.connect("postgres") as connection:
        connection.execute("ALTER ROLE email_service CREATEDB")
    at.house.settings |= {"DATABASE_URL": own_postgres.url("email_service"), "SECRET_KEY": "k" * 43}
    at.house.settings |= {"PGHOST": "127.0.0.1", "PGPORT": str(own_postgres.port)}
    alone = House(at.folder / "srv", {})
    for house in (at.house, alone):
        for command in (MIGRATE, CREATE, SEND):
            assert (ran := house.command(*command)).returncode == 0, ran.stderr
    at.work_through(page.blocks)
    tell_page(page, at)
    restored = House(at.folder / "email-service-restored", {})
    for house in (at.house, restored):
        with house:
            web = house.serve()
            [mail] = web.get("/inbox/messages?to=ada@example.com&wait_seconds=30")["data"]
            assert "Ada" in mail["subject"]


def test_every_block_is_seen(at_desk):
    assert [complaint for page in PAGES for complaint in desk.unreadable(page.text)] == []
    assert list(desk.unreadable("1. So:\n\n    ```sh\n    make\n    ```\n")) != []
    [api] = [page for page in PAGES if page.path == "docs/api.md"]
    shell = [
        command.words[0]
        for block in api.blocks
        if block.language == "sh"
        for command in documents.commands(block.content)
    ]
    assert set(shell) == {"curl"}


def _on(postgres: PrivatePostgres) -> Callable[[str], None]:
    def run(statement: str) -> None:
        with postgres.connect("email_service") as connection:
            assert connection.execute(statement).description

    return run


def broken(text: str) -> Page:
    return Page("docs/broken.md", text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\nemail-service client create shop\n```\n", "Missing option"),
        ("```sh\ncurl -sS http://127.0.0.1:8000/v1/nowhere\n```\n", "answered"),
        ("```sh\ncurl -sS http://127.0.0.1:8000/healthz   # 422\n```\n", "answered"),
        ("```sh\nmake nothing-of-this-name\n```\n", "nothing-of-this-name"),
        ("```python\nraise SystemExit('no')\n```\n", "no"),
        ("```env\nMAIL_PORT=many\n```\n", "MAIL_PORT"),
        ("```toml\na = 1\n```\n", "which file"),
        ("```sql\nSELECT 1\n```\n", "no database"),
        ("```perl\nprint 1\n```\n", "_perl"),
        ('```sh\ncurl -sS http://127.0.0.1:8000/healthz\n```\n\n```json\n{"state": "ok"}\n```\n', "state"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(text, complaint, used_desk):
    with pytest.raises(Exception, match=complaint):
        used_desk.work_through(broken(text).blocks)


def test_a_block_that_cannot_be_run_says_why(at_desk):
    at = at_desk()
    at.work_through(broken("<!-- not run: it has no end -->\n\n```sh\nexit 1\n```\n").blocks)
    assert at.left_out == ["a block of sh: it has no end"]
    assert not at.done
