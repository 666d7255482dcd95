"""The documentation is true: what it names exists, what exists is named, and its examples run as it says."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import documents
import flask_migrate
import pytest
from documents import Page, Truth
from error_codes import error_codes

from email_service.app import create_app
from email_service.cli import serve
from email_service.cli.main import commands
from email_service.clients import service as clients
from email_service.delivery import settlement
from email_service.delivery.explanation import Reason
from email_service.engine import create_runner
from email_service.messages.models import Message
from email_service.messages.state import FINAL, Status
from email_service.settings import Settings, load, mail_routes
from email_service.settings.variables import Variable
from tests.journeys.processes import wait_until
from tests.stand_ins import LOCAL, read_curl

ROOT = Path(__file__).parent.parent
FILES = documents.files(ROOT)
PAGES = documents.pages(ROOT)
BY_PATH = {page.path: page for page in PAGES}
TEMPLATES = {path.parent.name for path in ROOT.glob("templates/email/*/manifest.toml")}


CODE_TABLE = "".join(f"| `{code}` | {status} | x |\n" for code, status in error_codes().items())
# A check, the page that breaks it, and a word of the complaint.
BROKEN = [
    (documents.links_lead_somewhere, "docs/api.md", "See [this](nowhere.md).", "does not exist"),
    (documents.links_lead_somewhere, "docs/api.md", "See [this](concepts.md#nowhere).", "no heading"),
    (documents.make_targets_exist, "README.md", "Type `make invented`.", "make invented"),
    (documents.make_targets_exist, "README.md", "```sh\nmake run INVENTED=1   # first\n```\n", "INVENTED=1"),
    (documents.commands_exist, "README.md", "Type `email-service invent`.", "no command"),
    (documents.commands_exist, "README.md", "Type `email-service client invent NAME`.", "no command client invent"),
    (documents.commands_exist, "README.md", "```sh\n.venv/bin/email-service run --invented 1\n```\n", "--invented"),
    (documents.commands_exist, "README.md", "```sh\ncd x && email-service send \\\n  --at now\n```\n", "--at"),
    (documents.commands_exist, "README.md", "```sh\npodman exec x email-service run --invented\n```\n", "--invented"),
    (documents.settings_exist, "README.md", "Set `MAIL_INVENTED`.", "MAIL_INVENTED"),
    (documents.settings_exist, "README.md", "Set `MAIL_INVENTED_FILE=x`.", "MAIL_INVENTED_FILE"),
    (documents.settings_exist, "README.md", "```env\n# MAIL_INVENTED=1\nMAIL_PORT=25\n```\n", "MAIL_INVENTED"),
    (documents.endpoints_exist, "README.md", "Call `DELETE /v1/messages/{id}`.", "nothing answers"),
    (documents.error_codes_are_right, "docs/api.md", CODE_TABLE + "| `invented` | 400 | x |", "400, not None"),
    (documents.error_codes_are_right, "docs/api.md", CODE_TABLE + "| `method_not_allowed` | 404 | x |", "404, not 405"),
    (documents.error_codes_are_right, "docs/api.md", CODE_TABLE + '{"code": "invented"}', "no row for invented"),
    (documents.error_codes_are_right, "docs/api.md", CODE_TABLE.replace("`not_found`", "``"), "no row for not_found"),
    (documents.decisions_have_all_parts, "docs/adr/0009-x.md", "# 9. X\n\n## Context\n", "other parts"),
    (documents.nothing_is_praised, "README.md", "A powerful service.", "powerful"),
]
RUN = ("README.md", "docs/api.md")  # the pages whose calls are made here; tests/journeys/test_pages.py runs the rest


def names() -> frozenset[str]:
    """Every setting with its alias, and every capital word of what configures make, image, tests and benchmarks."""
    found = {"SENDER_NAME"}
    for name, declared in Settings.__dataclass_fields__.items():
        if isinstance(variable := declared.metadata.get("variable"), Variable):
            found |= {name.upper(), variable.alias or name.upper()}
    found |= {
        mail_routes.variable(route, suffix) for route in ("ses", "news", "backup") for suffix in mail_routes.VARIABLES
    }
    for path in FILES:
        if re.fullmatch(r"\w+file|compose\.yaml|tests/(servers\.py|(image|engine)/.+)|(bench|examples)/.+\.py", path):
            found |= set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", (ROOT / path).read_text(encoding="utf-8")))
    return frozenset(found)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service with its delivery, on SQLite, and the key of one client."""
    url = f"sqlite:///{tmp_path_factory.mktemp('docs')}/email_service.db"
    app = create_app(load({"DATABASE_URL": url}, env_file=None))
    with app.app_context():
        flask_migrate.upgrade()
    parts = app.extensions["email_service"]
    with parts.sessions.begin() as session:
        _, key = clients.create(session, "docs", ["*"])
    runner = create_runner(app)
    runner.start()
    yield SimpleNamespace(app=app, sessions=parts.sessions, key=key, token="")
    assert runner.stop(30)


@pytest.fixture(scope="module")
def truth(service):
    rules = list(service.app.url_map.iter_rules())
    return Truth(
        root=ROOT,
        targets=frozenset(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())),
        commands=commands,
        names=names(),
        codes=error_codes(),
        endpoints=frozenset(f"{method} {documents.general(str(rule))}" for rule in rules for method in rule.methods),
    )


def ask(service, words: list[str], message_id: str | None):
    """The answer to a curl command, from the service itself."""
    meant = {"$KEY": service.key, "$ID": str(message_id), "$TOKEN": service.token}
    text = [re.sub(r"\$[A-Z]+", lambda found: meant.get(found[0], found[0]), word) for word in words[1:]]
    call = read_curl([re.sub(r"esk_\S+", service.key, word) for word in text])
    path = call.url.removeprefix(LOCAL)
    if message_id and message_id in path:
        bring_about(service, UUID(message_id), path.rpartition("/")[2] if call.method != "PATCH" else "reschedule")
    return service.app.test_client().open(
        path,
        method=call.method,
        headers=[tuple(re.split(r": *", header, maxsplit=1)) for header in call.headers],
        data=call.body and in_the_future(call.body),
    )


def bring_about(service, message_id: UUID, call: str) -> None:
    """What the page takes as given: the message was delivered, waits when it is cancelled, failed when retried."""
    before = {"cancel": Status.SCHEDULED, "reschedule": Status.SCHEDULED, "retry": Status.FAILED}

    def is_brought_about() -> bool:
        with service.sessions.begin() as session:
            message = session.get(Message, message_id)
            is_settled = message.status in {*FINAL, Status.SCHEDULED}
            if is_settled:
                message.status = before.get(call, message.status)
            return is_settled

    wait_until(is_brought_about)


def in_the_future(body: str) -> str:
    """The times of an example stand for times that lie ahead; move them all, so that the first is tomorrow."""
    form = r"\d{4}-\d\d-\d\dT[\d:]+(?:Z|[+-][\d:]+)"
    times = [datetime.fromisoformat(found) for found in re.findall(form, body)]
    shift = datetime.now(UTC) + timedelta(days=1) - min(times, default=datetime.now(UTC))
    return re.sub(form, lambda found: (datetime.fromisoformat(found[0]) + shift).isoformat(), body)


def curls(block: documents.Block) -> list[documents.Command]:
    if block.language == "text":  # what a program prints
        lines = [line.strip() for line in block.content.splitlines() if line.strip().startswith("curl ")]
        return [command for line in lines for command in documents.commands(line)]
    found = documents.commands(block.content) if block.language == "sh" else ()
    return [command for command in found if command.words[0] == "curl"]


@pytest.mark.parametrize("check", documents.CHECKS, ids=lambda check: check.__name__)
def test_the_pages_keep(check, truth):
    assert {*RUN, "docs/concepts.md", "SECURITY.md"} <= set(BY_PATH)
    complaints = [complaint for page in PAGES for complaint in check(page, truth)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("check", "path", "text", "complaint"), BROKEN)
def test_a_check_notices_when_it_is_broken(check, path, text, complaint, truth):
    complaints = list(check(Page(path, text), truth))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_every_check_was_broken_on_purpose():
    assert {case[0] for case in BROKEN} == set(documents.CHECKS)


@pytest.mark.parametrize("page", RUN)
def test_each_example_is_answered_as_the_page_says(page, service):
    """In order: $ID is the first message that the page sent, $TOKEN the last token that an answer held.

    JSON after a call shows the members of its answer.
    """
    asked, message_id, answer = 0, None, None
    for block in BY_PATH[page].blocks:
        if block.language == "json" and answer is not None:
            assert list(documents.differences(json.loads(block.content), answer.json)) == [], block.section
            answer = None
        for command in curls(block):
            answer, asked = ask(service, command.words, message_id), asked + 1
            told = re.search(r"Answers\s+(\d{3})", block.section)
            expected = command.expected or (int(told[1]) if told else 200 + 2 * (answer.request.method == "POST"))
            assert answer.status_code == expected, (command.words, answer.text)
            if answer.status_code == 201:
                service.token = answer.json.get("token", service.token)
            if expected == 202 and message_id is None:
                message_id = answer.json["id"]
    assert asked


def test_a_wrong_example_is_noticed(service):
    words = ["curl", f"{LOCAL}/v1/messages", "-H", "Authorization: Bearer $KEY", "-H", "Content-Type: application/json"]
    assert ask(service, [*words, "-d", '{"template": "welcome"}'], None).status_code == 422
    given = {"id": "x", "to": {"email": "x"}, "data": [{"a": 1}]}
    assert list(documents.differences({"id": "y", "to": {"email": "z"}, "data": []}, given)) == []
    assert list(documents.differences({"id": 1, "to": {}, "data": [{"b": 1}]}, given)) != []
    assert sorted(documents.differences({"to": {"name": ""}, "data": [{"b": 1}]}, given)) == [
        "/data/0/a is not told",
        "/data/0/b is not in the answer",
        "/id is not told",
        "/to/email is not told",
        "/to/name is not in the answer",
    ]


def test_the_readme_shows_what_run_prints(tmp_path, capsys):
    settings = load({"DATABASE_URL": f"sqlite:///{tmp_path}/email_service.db"}, env_file=None)
    serve._greet(LOCAL, settings, "esk_9be8\u2026")
    assert f"```text\n{capsys.readouterr().out}```" in BY_PATH["README.md"].text


def test_every_call_of_the_service_is_on_the_page_about_the_api(truth):
    page = BY_PATH["docs/api.md"]
    ours = {e for e in truth.endpoints if e.split(" ")[0] not in {"HEAD", "OPTIONS"}}
    wanted = {e for e in ours if "/v1/" in e} | {"GET /healthz", "GET /readyz", "GET /docs", "GET /openapi.json"}
    assert wanted - page.endpoints == set()
    assert {"GET /v1/invented"} - page.endpoints


def test_every_template_status_and_scope_is_named():
    api, rows = BY_PATH["docs/api.md"], re.findall(r"(?m)^\| `([a-z]+)` \|", BY_PATH["docs/concepts.md"].text)
    assert documents.missing(TEMPLATES | set(clients.SCOPES) | {reason.value for reason in Reason}, api) == set()
    assert documents.missing(TEMPLATES, BY_PATH["README.md"]) == set()
    assert documents.missing({"welcome", "invented"}, api) == {"invented"}
    assert rows == [status.value for status in Status]


def test_every_event_of_the_log_that_is_told_of_is_logged():
    log = BY_PATH["docs/operations.md"].text.partition("### The log\n")[2].partition("\n### ")[0]
    told = set(re.findall(r"(?m)^\| `([a-z_.]+)` \|", log))
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("email_service/**/*.py"))
    assert len(told) >= 8
    logged = set(re.findall(r'log\.\w+\(\s*"([a-z_.]+)"', code))
    # What became of an attempt is told by the status that it led to.
    logged |= {f"message.{status.value}" for status in Status} | {f"message.{settlement.TAKEN_OVER}"}
    assert told <= logged


def test_the_sizes_are_those_of_the_part_of_the_benchmarks_that_they_name():
    sizing = BY_PATH["docs/operations.md"].text.partition("## Sizing\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| .* \| ([^|]+) \| \[.*\]\(benchmarks\.md#(\w+)\) \|$", sizing)
    assert len(rows) >= 10
    parts = {part.partition("\n")[0].lower(): part for part in BY_PATH["docs/benchmarks.md"].text.split("\n## ")}
    for figures, name in rows:
        told = set(re.findall(r"\d[\d.]*", parts[name].replace(",", "")))
        assert set(re.findall(r"\d[\d.]*", re.sub(r",(?! )", "", figures))) <= told, (figures, name)


def test_no_file_mentions_a_registry_a_machine_or_an_author():
    complaints = [
        complaint
        for path in FILES
        for complaint in documents.forbidden(path, (ROOT / path).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    "text", ["https://pypi" + ".org/simple", "/wo" + "rk/main", "cd /ro" + "ot/x", "by Clau" + "de"]
)
def test_a_forbidden_mention_is_noticed(text):
    [complaint] = documents.forbidden("README.md", f"first line\nsee {text} here")
    assert complaint.startswith("README.md:2 ")
    assert list(documents.forbidden("README.md", "see /network/main and var/work/x")) == []
