"""What the template check finds before a reader does."""

import pytest
from test_catalog import MANIFEST, write

from email_service.authoring import checks
from email_service.authoring.findings import Finding
from email_service.rendering.files import Files
from email_service.rendering.variables import Brand

BRAND = Brand(name="Acme", frontend_url="http://localhost:3000")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "hello", locales=("de",))
    return tmp_path


def test_a_sound_folder_has_no_findings(folder):
    assert checks.check(Files(folder), BRAND) == []


def test_a_manifest_that_does_not_load_is_a_finding(folder):
    write(folder, "other", MANIFEST.replace('"transactional"', '"fast"'))
    (finding,) = checks.check(Files(folder), BRAND)
    assert (finding.template, finding.file) == ("other", "other/manifest.toml/lane")


def test_a_folder_that_is_not_there_is_a_finding(folder):
    (finding,) = checks.check(Files(folder / "nowhere"), BRAND)
    assert "does not exist" in finding.message


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        ("hello/body.html", "{{ nam }}", "uses 'nam', which is not in the manifest's variables"),
        ("hello/subject.txt", "{{ subject }}", "uses 'subject', which is not in the manifest's variables"),
        ("hello/de/body.html", "{% if", "cannot be rendered: hello/de/body.html, line 1"),
        ("hello/de/body.txt", "{# nothing #}\n", "the text part is empty"),
        ("hello/body.txt", "http://example.com/x", "http://example.com/x is not an https link"),
        ("hello/body.html", "{% if false %}{{ hidden }}{% endif %}", "uses 'hidden'"),
        ("hello/body.html", "{% extends '_layout/no.html' %}", "there is no file _layout/no.html"),
    ],
)
def test_a_mistake_is_found_in_its_file(folder, file, source, message):
    (folder / file).write_text(source)
    found = checks.check(Files(folder), BRAND)
    assert [each.file for each in found] == [file] * len(found)
    assert any(message in each.message for each in found)


def test_the_layout_is_followed(folder):
    (folder / "_layout").mkdir()
    (folder / "_layout" / "frame.html").write_text(
        "{{ brand.name }}{{ link }}{{ missing|default('') }}{% block b %}{% endblock %}"
    )
    (folder / "hello" / "body.html").write_text("{% extends '_layout/frame.html' %}{% set link = name %}")
    assert checks.check(Files(folder), BRAND) == [
        Finding("hello", "hello/body.html", "uses 'missing', which is not in the manifest's variables")
    ]


def test_sample_variables_that_do_not_fit_are_found(folder):
    manifest = folder / "hello" / "manifest.toml"
    manifest.write_text(MANIFEST.replace('name = "Ada"', "name = 1"))
    assert checks.check(Files(folder), BRAND) == [
        Finding("hello", "hello/manifest.toml", "sample_variables/name has to be a string")
    ]


def test_an_optional_variable_that_is_used_unguarded_is_found(folder):
    (folder / "hello" / "manifest.toml").write_text(MANIFEST.replace('required = ["name"]', "required = []"))
    assert {each.file for each in checks.check(Files(folder), BRAND)} >= {"hello/subject.txt", "hello/de/subject.txt"}
