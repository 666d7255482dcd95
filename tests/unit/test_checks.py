"""What the template check finds before a reader does, where it says that it is, and what it leaves alone."""

import json
from pathlib import Path

import pytest
from test_catalog import MANIFEST, write

from email_service.authoring import checks
from email_service.authoring.checks import Scope
from email_service.authoring.findings import Finding, as_json
from email_service.kernel.errors import SettingsError, TemplateUnknownError
from email_service.rendering.files import Files
from email_service.rendering.variables import Brand

BRAND = Brand(name="Acme", frontend_url="http://localhost:3000")
PAGE = '<!doctype html>\n<html lang="en"><head><title>x</title></head><body>\n{{ name }} BODY\n</body></html>\n'
OBJECTS = MANIFEST.replace(
    "[sample_variables]\n",
    """maxLength = 60
[variables.properties.extra]
type = "string"
maxLength = 60
[variables.properties.lines]
type = "array"
maxItems = 5
[variables.properties.lines.items]
type = "object"
additionalProperties = false
properties.price = { type = "string", maxLength = 60 }
[sample_variables]
lines = [{ price = "1" }]
extra = "more"
""",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A template whose base locale and German have files of their own."""
    write(tmp_path, "hello", OBJECTS, locales=("de",))
    for page in tmp_path.rglob("body.html"):
        page.write_text(PAGE)
    return tmp_path


def check(folder: Path, **scope: object) -> list[Finding]:
    return checks.check(Files(folder), BRAND, Scope(**scope))


def test_a_sound_folder_has_no_findings(folder):
    assert check(folder) == []


def test_what_keeps_the_service_from_starting_is_found_with_its_line(folder):
    write(folder, "other", MANIFEST.replace('"transactional"', '"fast"'))
    (finding,) = check(folder)
    assert (finding.template, finding.file, finding.line) == ("other", "other/manifest.toml", 4)
    assert finding.message == 'lane has to be one of "token", "transactional", "bulk"'
    assert finding.is_error


def test_a_missing_text_part_is_found(folder):
    (folder / "hello" / "body.txt").unlink()
    assert [(each.file, each.message) for each in check(folder)] == [("hello/body.txt", "is missing")]


def test_a_folder_that_is_not_there_is_refused(folder):
    with pytest.raises(SettingsError, match="does not exist"):
        check(folder / "nowhere")


@pytest.mark.parametrize(
    ("file", "source", "line", "message"),
    [
        ("subject.txt", "{{ subject }}", 1, "uses 'subject', which is not in the manifest's variables"),
        ("subject.txt", "\n{{ nam }}", 2, "uses 'nam', which is not in the manifest's variables"),
        ("de/body.txt", "{% if", 1, "cannot be rendered in de with the variables 'sample': "),
        ("de/body.txt", "{# nothing #}\n", None, "the text part is empty"),
        ("body.txt", "x\nhttp://example.com/x", 2, "http://example.com/x is not an https link"),
        ("body.txt", "x{% if false %}{{ hidden }}{% endif %}", 1, "uses 'hidden'"),
        ("body.txt", "x{% if false %}\n{{ name | uper }}{% endif %}", 2, "there is no filter 'uper'"),
        ("body.txt", "x{% if false %}{{ name is defind }}{% endif %}", 1, "there is no test 'defind'"),
        ("body.txt", "x{% if false %}{{ name.split() }}{% endif %}", 1, "split() may not be called here"),
        (
            "body.txt",
            "{% for each in lines %}{{ 'x' if true else each.prise }}{% endfor %}",
            1,
            "'each' has no 'prise'",
        ),
        ("body.txt", "x{% if false %}{{ brand.nam }}{% endif %}", 1, "'brand' has no 'nam'"),
        ("body.txt", "x{% if extra is defined %}{{ lines[0].price }}{% endif %}", 1, "cannot be rendered in en with"),
        ("body.txt", "{% extends '_layout/no.txt' %}", 1, "there is no file _layout/no.txt"),
        (
            "body.txt",
            "x\n{% if false %}{% include '_layout/no.txt' %}{% endif %}",
            2,
            "there is no file _layout/no.txt",
        ),
        ("body.txt", "{{ name }} Act now!! It is 100% free", None, "'act now' is what junk mail says"),
        ("subject.txt", "{{ name | upper }} HURRY UP", None, "is in capitals"),
        ("subject.txt", "{{ name }}" + " more" * 20, None, "has 103 characters"),
    ],
)
def test_a_mistake_is_found_in_its_file_and_on_its_line(folder, file, source, line, message):
    (folder / "hello" / file).write_text(source)
    found = [each for each in check(folder) if message in each.message]
    assert [(each.template, each.file, each.line) for each in found] == [("hello", f"hello/{file}", line)]
    assert found[0].advice.endswith(".")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<img src="https://app.example.com/x.png">', "an image has no alt"),
        ('<img src="/x.png" alt="">', "no mail program can load the image '/x.png'"),
        ('<a href="#">x</a>', "the link '#' leads nowhere"),
        ('<a href="https://app.example.com/"></a>', "the link to 'https://app.example.com/' has no words"),
        ("<p><b>x</p>", "<b> is not closed before the </p> around it"),
        ("<div>", "<div> is not closed before the </body> around it"),
        ('<p style="color: #bbbbbb">x</p>', "'x' in #bbbbbb on #ffffff has a contrast of 1.9 in the light theme"),
    ],
)
def test_a_mistake_of_the_page_is_found_on_its_line(folder, body, message):
    (folder / "hello" / "body.html").write_text(PAGE.replace("BODY", f"\n\n{body}"))
    found = {(each.file, each.line) for each in check(folder) if message in each.message}
    assert found == {("hello/body.html", 5)}


def test_a_page_that_gmail_would_cut_is_an_error_and_one_that_could_grow_so_large_is_advice(folder):
    (folder / "hello" / "body.html").write_text(PAGE.replace("BODY", "x" * 110_000))
    assert any("107 kB" in each.message and each.is_error for each in check(folder))
    (folder / "hello" / "body.html").write_text(PAGE.replace("BODY", "{{ name }}" * 1_900))
    assert [(each.is_error, "'longest'" in each.message) for each in check(folder)] == [(False, True)]


def test_a_locale_without_words_is_advice_unless_no_reader_has_it(folder):
    write(folder, "other", OBJECTS)
    (folder / "other" / "body.html").write_text(PAGE)
    (finding,) = check(folder)
    assert (finding.template, finding.is_error) == ("other", False)
    assert finding.message == "there are no words for de, so their readers get en"
    assert check(folder, locales=("en",)) == []
    assert check(folder, names=("hello",)) == []


def test_only_what_is_named_is_checked_and_each_one_is_told(folder):
    write(folder, "other", MANIFEST.replace('name = "Ada"', "name = 1"))
    begun: list[str] = []
    assert check(folder, names=("hello",), on_template=begun.append) == []
    assert begun == ["hello"]
    with pytest.raises(TemplateUnknownError, match="did you mean 'hello'"):
        check(folder, names=("helo",))


def test_the_layout_is_followed(folder):
    (folder / "_layout").mkdir()
    (folder / "_layout" / "frame.html").write_text(
        PAGE.replace("BODY", "{{ brand.name }}{{ link }}{{ missing|default('') }}")
    )
    (folder / "hello" / "body.html").write_text("{% extends '_layout/frame.html' %}{% set link = name %}")
    (finding,) = check(folder)
    assert (finding.file, finding.line) == ("_layout/frame.html", 3)
    assert finding.message == "uses 'missing', which is not in the manifest's variables"


def test_sample_variables_that_do_not_fit_are_found(folder):
    manifest = folder / "hello" / "manifest.toml"
    manifest.write_text(OBJECTS.replace('name = "Ada"', "name = 1"))
    (finding,) = check(folder)
    assert (finding.file, finding.message) == ("hello/manifest.toml", "sample_variables/name has to be a string")
    assert finding.line == len(manifest.read_text().splitlines())


def test_an_optional_variable_that_is_used_unguarded_is_found(folder):
    (folder / "hello" / "manifest.toml").write_text(OBJECTS.replace('required = ["name"]', "required = []"))
    found = check(folder)
    assert {each.file for each in found} >= {"hello/subject.txt", "hello/de/subject.txt"}
    assert all("is defined" in each.advice for each in found if "is undefined" in each.message)


def test_findings_are_lines_for_people_and_json_for_machines(folder):
    (folder / "hello" / "body.txt").write_text("{{ nam }}")
    found = check(folder)
    lines = list(map(str, found))
    assert any(
        line == "hello/body.txt:1: error: uses 'nam', which is not in the manifest's variables. "
        "Write 'name', if that is meant."
        for line in lines
    )
    told = json.loads(as_json(found))
    assert (told["errors"], told["warnings"]) == (1, 0)
    assert set(told["findings"][0]) == {"template", "file", "line", "message", "advice", "is_error"}
