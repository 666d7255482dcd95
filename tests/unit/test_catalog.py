"""What the catalog finds in a folder, what it refuses, and how it answers to names, locales and versions."""

import shutil
import socket
from pathlib import Path

import pytest

from email_service.kernel.errors import InvalidInputError, SettingsError, TemplateUnknownError
from email_service.rendering import catalog
from email_service.rendering.files import Files

MANIFEST = """
description = "Says hello."
category = "test"
lane = "transactional"
sensitive = true
on_uncertain = "hold"
[variables]
type = "object"
additionalProperties = false
required = ["name"]
[variables.properties.name]
type = "string"
[sample_variables]
name = "Ada"
"""


def write(folder: Path, name: str, manifest: str = MANIFEST, locales: tuple[str, ...] = ()) -> None:
    for place in (folder / name, *(folder / name / locale for locale in locales)):
        place.mkdir(parents=True)
        for part in catalog.PARTS:
            (place / part).write_text(f"{place.name} {{{{ name }}}}")
    (folder / name / "manifest.toml").write_text(manifest)


def mistakes(folder: Path) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        catalog.load(Files(folder))
    assert all(fault.pointer[1:] in caught.value.detail for fault in caught.value.faults)
    return {fault.pointer: fault.message for fault in caught.value.faults}


def test_a_manifest_becomes_a_template(tmp_path):
    write(tmp_path, "hello", locales=("pt", "de"))
    template = catalog.load(Files(tmp_path)).get("hello")
    assert (template.description, template.category, template.lane) == ("Says hello.", "test", "transactional")
    assert (template.is_sensitive, template.on_uncertain) == (True, "hold")
    assert template.locales == ("en", "de", "pt")
    assert template.sample_variables == {"name": "Ada"}
    assert template.variables_schema["required"] == ["name"]


def test_templates_come_in_the_order_of_their_names(tmp_path):
    write(tmp_path, "second")
    write(tmp_path, "first")
    (tmp_path / "_layout").mkdir()
    (tmp_path / ".git").mkdir()
    found = catalog.load(Files(tmp_path))
    assert found.names() == ("first", "second") == tuple(template.name for template in found)
    assert len(found) == 2
    assert "first" in found
    assert "_layout" not in found


def test_an_unknown_name_is_answered_with_the_names_that_come_close(tmp_path):
    write(tmp_path, "password-reset")
    found = catalog.load(Files(tmp_path))
    with pytest.raises(TemplateUnknownError) as caught:
        found.get("pasword-reset")
    assert caught.value.faults[0].pointer == "/template"
    assert "did you mean 'password-reset'" in caught.value.detail
    with pytest.raises(TemplateUnknownError, match="known: password-reset"):
        found.get("x" * 10_000)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("pt-BR", "pt-BR"),
        ("pt_br", "pt-BR"),
        ("pt-PT", "pt"),
        ("pt-PT-x-y", "pt"),
        ("de", "en"),
        ("", "en"),
        (None, "en"),
        ("-", "en"),
        ("../etc", "en"),
    ],
)
def test_a_locale_falls_back_to_its_language_and_then_to_the_base(tmp_path, asked, given):
    write(tmp_path, "hello", locales=("pt", "pt-BR"))
    assert catalog.load(Files(tmp_path)).get("hello").pick_locale(asked) == given


def test_the_version_follows_the_own_files_and_the_layout_and_nothing_else(tmp_path):
    write(tmp_path, "hello", locales=("de",))
    write(tmp_path, "other")
    (tmp_path / "_layout").mkdir()
    versions = [catalog.load(Files(tmp_path)).get("hello").version]
    assert len(versions[0]) == 16
    for changed in ("hello/de/body.html", "hello/manifest.toml", "_layout/style.css"):
        with (tmp_path / changed).open("a") as file:
            file.write("\n")
        versions.append(catalog.load(Files(tmp_path)).get("hello").version)
    subject = tmp_path / "hello" / "subject.txt"
    subject.write_text(subject.read_text().upper())
    versions.append(catalog.load(Files(tmp_path)).get("hello").version)
    assert len(set(versions)) == len(versions)
    (tmp_path / "other" / "body.txt").write_text("changed")
    (tmp_path / "hello" / ".body.html.swp").write_text("an editor's")
    assert catalog.load(Files(tmp_path)).get("hello").version == versions[-1]
    shutil.copytree(tmp_path, tmp_path.parent / "copy")
    assert catalog.load(Files(tmp_path.parent / "copy")).get("hello").version == versions[-1]


def test_every_mistake_of_every_manifest_is_listed_at_once(tmp_path):
    write(tmp_path, "one", MANIFEST.replace('"transactional"', '"fast"').replace("category", "kategory"))
    write(tmp_path, "two", MANIFEST.replace("additionalProperties = false", "additionalProperties = true"))
    write(tmp_path, "three", "description = ")
    write(tmp_path, "Four")
    (tmp_path / "one" / "body.txt").unlink()
    found = mistakes(tmp_path)
    assert found["/one/manifest.toml/lane"] == 'has to be one of "token", "transactional", "bulk"'
    assert found["/one/manifest.toml/category"] == "is required"
    assert found["/one/manifest.toml/kategory"] == "is not known here"
    assert found["/one/body.txt"] == "is missing"
    assert found["/two/manifest.toml/variables/additionalProperties"] == "has to be false"
    assert "is not valid TOML" in found["/three/manifest.toml"]
    assert "lower-case" in found["/Four"]


@pytest.mark.parametrize(
    ("before", "after", "pointer"),
    [
        ('type = "string"', 'type = "strin"', "/hello/manifest.toml/variables"),
        ("properties.name", "properties.brand", "/hello/manifest.toml/variables/properties/brand"),
        ('name = "Ada"', "name = 2026-01-01", "/hello/manifest.toml"),
        ('name = "Ada"', "name = nan", "/hello/manifest.toml"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(tmp_path, before, after, pointer):
    write(tmp_path, "hello", MANIFEST.replace(before, after))
    assert list(mistakes(tmp_path)) == [pointer]


def test_a_locale_brings_all_three_parts(tmp_path):
    write(tmp_path, "hello", locales=("de", "german"))
    (tmp_path / "hello" / "de" / "subject.txt").unlink()
    assert set(mistakes(tmp_path)) == {"/hello/de/subject.txt", "/hello/german"}


def test_a_missing_folder_or_manifest_is_named(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        catalog.load(Files(tmp_path / "nowhere"))
    write(tmp_path, "hello")
    (tmp_path / "hello" / "manifest.toml").unlink()
    assert mistakes(tmp_path) == {"/hello/manifest.toml": "is missing"}


def test_a_remote_schema_is_never_fetched(tmp_path):
    """T23."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        remote = f'"$ref" = "http://127.0.0.1:{server.getsockname()[1]}/schema"'
        write(tmp_path, "hello", MANIFEST.replace('type = "string"', remote))
        assert list(mistakes(tmp_path)) == ["/hello/manifest.toml/variables"]
        with pytest.raises(BlockingIOError):
            server.accept()


OPTIONAL = MANIFEST.replace("sensitive = true", "unsubscribe = true")


def test_readers_can_unsubscribe_from_what_says_so(tmp_path):
    """T33"""
    write(tmp_path, "needed")
    write(tmp_path, "news", OPTIONAL.replace('"test"', '"news"'))
    found = catalog.load(Files(tmp_path))
    assert [found.optional_category(name) for name in ("needed", "news", "unknown")] == [None, "news", None]
    assert found.optional_categories() == ("news",)
    for category in ("*", "optional", "news"):
        assert found.check_category(category) == category
    for category in ("test", "security", "unknown", ""):
        with pytest.raises(InvalidInputError, match="known: \\*, optional, news"):
            found.check_category(category)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({'"test"': '"security"'}, "cannot be true for token mail"),
        ({'"transactional"': '"token"'}, "cannot be true for token mail"),
        ({'"test"': '"optional"'}, "other than optional"),
        ({'"test"': '"*"'}, "needs a category of lower-case letters"),
        ({'"test"': '"News"'}, "needs a category of lower-case letters"),
        ({'"test"': '"a\\nb"'}, "needs a category of lower-case letters"),
        ({'"test"': f'"{"x" * 51}"'}, "at most 50 characters"),
        ({"unsubscribe = true": 'unsubscribe = "yes"'}, "has to be true or false"),
    ],
)
def test_what_nobody_may_miss_cannot_be_unsubscribed_from(tmp_path, changes, complaint):
    """T33: the catalog refuses to load."""
    manifest = OPTIONAL
    for before, after in changes.items():
        manifest = manifest.replace(before, after)
    write(tmp_path, "hello", manifest)
    found = mistakes(tmp_path)
    assert list(found) == ["/hello/manifest.toml/unsubscribe"]
    assert complaint in found["/hello/manifest.toml/unsubscribe"]


def test_a_category_is_optional_as_a_whole(tmp_path):
    """T33: else a reader who unsubscribes from it would miss what is needed."""
    write(tmp_path, "first", OPTIONAL)
    write(tmp_path, "second")
    write(tmp_path, "third", OPTIONAL)
    assert mistakes(tmp_path) == {
        "/second/manifest.toml/unsubscribe": "has to be as in first, which is of the same category test"
    }
