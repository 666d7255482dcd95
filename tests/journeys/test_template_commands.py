"""`email-service template` as an author of templates types it."""

import json
import shutil
from pathlib import Path

import pytest

from email_service.authoring import drafts
from tests.journeys.processes import House

BUILTIN = Path(__file__).parents[2] / "templates" / "email"


@pytest.fixture
def installation(house) -> House:
    """An installation whose own templates are in `own`, with one that was just begun."""
    made = house(TEMPLATES_DIR="own")
    drafts.write(made.folder / "own", "order-shipped")
    return made


def edit(installation: House, path: str, before: str, after: str) -> None:
    file = installation.folder / "own" / path
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_a_template_that_was_begun_passes_the_check_and_is_rendered(installation):
    checked = installation.command("template", "check", "order-shipped", "--locale", "en", "--strict")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "All templates are right.\n", "")
    shown = json.loads(installation.command("template", "render", "order-shipped").stdout)
    assert shown["subject"] == "Your order A-1042 is on its way"
    listed = installation.command("template", "list").stdout.splitlines()
    assert [line.split()[:3] for line in listed if "order-shipped" in line] == [
        ["order-shipped", "transactional", "own"]
    ]


def test_a_template_is_begun_in_a_new_folder_and_the_next_step_is_told(house):
    made = house()
    begun = made.command("template", "new", "order-shipped", "--dir", "own")
    assert begun.returncode == 0, begun.stderr
    assert "Wrote own/order-shipped/manifest.toml" in begun.stdout
    for step in ("put TEMPLATES_DIR=own into .env", "email-service template serve", "template check order-shipped"):
        assert step in begun.stdout
    again = made.command("template", "new", "order-late", TEMPLATES_DIR="own")
    assert "put TEMPLATES_DIR" not in again.stdout


def test_a_name_that_is_taken_is_refused(installation):
    refused = installation.command("template", "new", "order-shipped")
    assert refused.returncode == 1
    assert "own/order-shipped exists already and is left as it is" in refused.stderr


def test_without_a_folder_for_them_nothing_is_begun(house):
    refused = house().command("template", "new", "offer")
    assert refused.returncode == 2
    assert "set TEMPLATES_DIR in .env" in refused.stderr
    assert "--dir templates" in refused.stderr


def test_what_is_wrong_is_told_with_its_line_and_fails(installation):
    edit(installation, "order-shipped/body.html", "arrives_on | date", "arrives_on | dat")
    checked = installation.command("template", "check", "order-shipped")
    assert checked.returncode == 1
    assert (
        "own/order-shipped/body.html:15: error: there is no filter 'dat'. Write 'date', if that is meant."
        in checked.stdout
    )
    assert "1 errors and 1 warnings" in checked.stderr
    told = json.loads(installation.command("template", "check", "order-shipped", "--json").stdout)
    assert (told["errors"], told["warnings"], len(told["findings"])) == (1, 1, 2)


def test_advice_fails_only_where_it_is_strict(installation):
    assert installation.command("template", "check", "order-shipped").returncode == 0
    strict = installation.command("template", "check", "order-shipped", "--strict")
    assert strict.returncode == 1
    assert "there are no words for ar, de," in strict.stdout
    assert installation.command("template", "check", "nothing").returncode == 1


def test_the_service_does_not_start_on_a_template_that_is_wrong_and_says_which(installation):
    edit(installation, "order-shipped/manifest.toml", '"transactional"', '"fast"')
    for command in (("migrate",), ("template", "list")):
        refused = installation.command(*command)
        assert refused.returncode == 1
        assert "own/order-shipped/manifest.toml/lane has to be one of" in refused.stderr
    checked = installation.command("template", "check")
    assert "own/order-shipped/manifest.toml:5: error: lane has to be one of" in checked.stdout


def test_a_folder_that_is_not_there_is_told_by_its_setting(house):
    refused = house(TEMPLATES_DIR="nowhere").command("migrate")
    assert refused.returncode == 1
    assert "TEMPLATES_DIR: write the path of a folder that exists and can be read." in refused.stderr


def test_variables_come_from_a_file_and_from_the_line(installation):
    given = installation.folder / "given.json"
    given.write_text('{"order_number": "B-2", "action_url": "https://app.example.com/b", "name": "Bo"}')
    shown = installation.command("template", "render", "order-shipped", "--vars", "given.json", "--var", "name=Di")
    assert "Hello Di," in json.loads(shown.stdout)["text"]
    assert json.loads(shown.stdout)["subject"] == "Your order B-2 is on its way"
    given.write_text("[]")
    refused = installation.command("template", "render", "order-shipped", "--vars", "given.json")
    assert refused.returncode == 2
    assert "one JSON object" in refused.stderr


def test_a_theme_is_shown_in_a_browser(installation):
    opened = installation.command("template", "render", "welcome", "--theme", "dark", "--open", BROWSER="echo %s")
    assert opened.returncode == 0, opened.stderr
    page = Path(next(word for word in opened.stdout.split() if word.endswith("welcome.html")).removeprefix("file://"))
    assert "@media (min-width: 0) {" in page.read_text()


@pytest.fixture
def releases(installation) -> tuple[Path, Path]:
    new = installation.folder / "own"
    return Path(shutil.copytree(new, installation.folder / "released")), new


def test_a_change_that_breaks_callers_fails_and_is_named(installation, releases):
    edit(installation, "order-shipped/manifest.toml", "maxLength = 40", "maxLength = 20")
    edit(installation, "order-shipped/manifest.toml", 'format = "date"', "")
    compared = installation.command("template", "diff", "released", "own")
    assert compared.returncode == 1
    assert compared.stdout.splitlines() == [
        "breaking  order-shipped: order_number: maxLength was 40, and is 20",
        'harmless  order-shipped: arrives_on: format was "date", and is not set any more',
    ]
    assert "1 of 2 break who sends the old variables" in compared.stderr
    told = json.loads(installation.command("template", "diff", "released", "own", "--json").stdout)
    assert told["breaking"] == 1
    assert [each["place"] for each in told["changes"]] == ["order_number", "arrives_on"]


def test_a_change_that_breaks_nobody_succeeds(installation, releases):
    assert "Nothing changed" in installation.command("template", "diff", "released", "own").stdout
    (installation.folder / "own" / "order-shipped" / "de").mkdir()
    compared = installation.command("template", "diff", "released/order-shipped", "own/order-shipped/manifest.toml")
    assert (compared.returncode, compared.stdout) == (0, "harmless  order-shipped: the locale de is new\n")


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("nowhere", "is neither a folder of templates nor a manifest"),
        ("order-shipped@0123456789abcdef", "git worktree add"),
        (".", "holds no template"),
    ],
)
def test_what_cannot_be_compared_is_an_error_of_usage(installation, old, told):
    refused = installation.command("template", "diff", old, "own")
    assert refused.returncode == 2
    assert told in " ".join(refused.stderr.split())


def test_the_built_in_templates_break_nobody_against_themselves(installation):
    compared = installation.command("template", "diff", str(BUILTIN), str(BUILTIN))
    assert compared.returncode == 0, compared.stdout
