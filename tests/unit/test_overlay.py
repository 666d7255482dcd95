"""A product's own folder over the built-in templates: what comes first, what is reached, what a version covers."""

import shutil
from pathlib import Path

import pytest

from email_service.authoring import checks
from email_service.kernel.errors import RenderingError, SettingsError
from email_service.rendering import catalog
from email_service.rendering.files import Files, Origin
from email_service.rendering.renderer import Rendered, Renderer
from email_service.rendering.variables import Brand
from email_service.settings import resource

BUILTIN = resource("templates") / "email"
BRAND = Brand(name="Acme", frontend_url="https://app.example.com")
LINK = "https://app.example.com/reset"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def put(folder: Path, path: str, content: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(content)


def render(own: Path, template: str = "password-reset", locale: str = "en", **variables: object) -> Rendered:
    files = Files(BUILTIN, own)
    return Renderer(files, catalog.load(files), BRAND).render(template, variables or {"action_url": LINK}, locale)


def version(own: Path | None, name: str = "password-reset") -> str:
    return catalog.load(Files(BUILTIN, own)).get(name).version


def test_an_empty_folder_changes_nothing(own):
    assert version(own) == version(None)


def test_a_file_replaces_the_built_in_file_of_its_path_and_no_other(own):
    put(own, "password-reset/subject.txt", "New subject from {{ brand.name }}")
    found = render(own)
    assert found.subject == "New subject from Acme"
    assert "Choose a new one here" in found.text
    assert version(own) != version(None)
    assert version(own, "welcome") == version(None, "welcome")


@pytest.mark.parametrize("lead", ["Hello from us.", "{{ super() }} Hello from us."])
def test_blocks_of_a_built_in_page_are_extended(own, lead):
    put(
        own,
        "password-reset/body.html",
        f'{{% extends "builtin/password-reset/body.html" %}}{{% block lead %}}<p>{lead}</p>{{% endblock %}}',
    )
    found = render(own)
    assert "Hello from us." in found.html
    assert ("asked to reset the password" in found.html) == ("super" in lead)
    assert "Choose a new password" in found.html
    assert 'class="button"' in found.html


def test_the_layout_is_extended_and_its_style_replaced_for_every_template(own):
    put(
        own,
        "_layout/layout.html",
        '{% extends "builtin/_layout/layout.html" %}{% block support %}Ask us.{% endblock %}',
    )
    put(own, "_layout/style.css", (BUILTIN / "_layout" / "style.css").read_text() + ".heading { color: #123456; }")
    files = Files(BUILTIN, own)
    brand = Brand(name="Acme", frontend_url="https://app.example.com", support_email="help@acme.example")
    found = Renderer(files, catalog.load(files), brand).render("password-reset", {"action_url": LINK})
    assert "Ask us." in found.html
    assert "color: #123456" in found.html
    assert version(own, "welcome") != version(None, "welcome")


def test_words_are_replaced_entry_by_entry(own):
    put(own, "_words/de.toml", '[password-reset]\nheading = "Neues Passwort"\n')
    found = render(own, locale="de")
    assert found.text.startswith("Neues Passwort\n")
    assert "Passwort Ihres Kontos" in found.text
    assert render(own).text.startswith("Reset your password")
    assert version(own) != version(None)


def test_a_new_folder_is_a_new_template_with_words_of_its_own(own):
    shutil.copytree(BUILTIN / "magic-link", own / "sign-in-link")
    words = '[sign-in-link]\nsubject = "S"\npreheader = "P"\nheading = "Only {brand}"\nlead = "L"\nbutton = "B"\n'
    put(own, "_words/en.toml", words + 'not_you = "N"\nsecret = "S"\nreason = "R"\n')
    files = Files(BUILTIN, own)
    found = catalog.load(files)
    assert found.get("sign-in-link").locales == ("en",)
    assert render(own, "sign-in-link", action_url=LINK).text.startswith("Only Acme")
    assert [files.origin(name) for name in ("sign-in-link", "welcome")] == [Origin.OWN, Origin.BUILT_IN]


def test_a_locale_whose_words_no_longer_fit_is_not_half_translated(own):
    """A sentence that the product adds is in one language; no mail is in two."""
    put(own, "password-reset/body.txt", '{{ say("heading") }}{{ say("extra") }}')
    put(own, "_words/en.toml", '[password-reset]\nextra = "More"\n')
    put(own, "_words/de.toml", '[password-reset]\nextra = "Mehr"\n')
    files = Files(BUILTIN, own)
    assert catalog.load(files).get("password-reset").locales == ("en", "de")
    assert catalog.load(files).get("welcome").locales == catalog.load(Files(BUILTIN)).get("welcome").locales
    assert render(own, locale="fr").text == "Reset your passwordMore"
    assert render(own, locale="de").text.endswith("Mehr")
    told = [each.message for each in checks.check(files, BRAND, checks.Scope(names=("password-reset",)))]
    assert any("there are no words for ar, es, fr, it, ja" in each for each in told)


def test_a_sentence_that_leaves_the_brand_out_keeps_its_translations(own):
    put(own, "_words/en.toml", '[password-reset]\nsubject = "Reset it"\n')
    assert render(own).subject == "Reset it"
    assert render(own, locale="de").locale == "de"


def test_a_version_covers_every_file_that_is_taken_in(own, tmp_path):
    shutil.copytree(BUILTIN / "welcome", own / "hello-again")
    put(own, "hello-again/body.txt", '{% extends "password-reset/body.txt" %}')
    put(
        own,
        "_words/en.toml",
        "[hello-again]\n" + (BUILTIN / "_words/en.toml").read_text().split("[welcome]\n")[1].split("\n\n")[0],
    )
    before = version(own, "hello-again")
    put(own, "password-reset/body.txt", '{% extends "builtin/password-reset/body.txt" %}')
    beside = version(own, "hello-again")
    put(own, "_words/de.toml", '[password-reset]\nlead = "Anders."\n')
    assert len({before, beside, version(own, "password-reset"), version(None, "password-reset")}) == 4
    builtin = shutil.copytree(BUILTIN, tmp_path / "another release")
    before = catalog.load(Files(builtin, own)).get("password-reset").version
    put(builtin, "password-reset/body.txt", (builtin / "password-reset/body.txt").read_text() + "\n")
    assert catalog.load(Files(builtin, own)).get("password-reset").version != before


def test_what_was_read_is_what_is_rendered_whatever_becomes_of_the_folder(own):
    put(own, "password-reset/subject.txt", "As it was")
    files = Files(BUILTIN, own)
    known = catalog.load(files)
    put(own, "password-reset/subject.txt", "Changed since")
    found = Renderer(files, known, BRAND).render("password-reset", {"action_url": LINK})
    assert (found.subject, found.version) == ("As it was", known.get("password-reset").version)


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("offer/body.html", "x", "own/offer/manifest.toml is missing"),
        ("welcome/manifest.toml", "nothing", "own/welcome/manifest.toml is not valid TOML"),
        ("builtin/body.html", "x", "own/builtin has to be named"),
        ("_words/de.toml", '[welcome]\nheadin = "x"', "own/_words/de.toml/welcome/headin is not in en.toml"),
        ("_words/en.toml", '[shared]\nimprint = "x"', "own/_words/de.toml/shared/imprint is missing"),
        ("_words/de.toml", "[welcome", "own/_words/de.toml cannot be read"),
        ("welcome/xx-yy/body.txt", "x", "own/welcome/xx-yy has to be a locale"),
    ],
)
def test_what_is_wrong_is_told_by_its_place_in_the_products_folder(own, monkeypatch, path, content, told):
    monkeypatch.chdir(own.parent)
    put(own, path, content)
    with pytest.raises(SettingsError) as caught:
        catalog.load(Files(BUILTIN, own))
    assert told in caught.value.detail
    assert "password-reset" not in caught.value.detail


def test_a_failure_while_rendering_names_the_file_by_its_path_in_the_view(own):
    put(own, "password-reset/body.txt", '\n{% include "builtin/password-reset/subject.txt" %}{{ nobody }}')
    with pytest.raises(RenderingError, match=r"password-reset/body.txt, line 2: 'nobody' is undefined"):
        render(own)


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "builtin/../secret.txt", "own/../../secret.txt"])
def test_no_path_leads_out_of_the_folders(own, path):
    """T21."""
    put(own.parent, "secret.txt", "secret")
    put(own, "password-reset/body.txt", f'{{% include "{path}" %}}')
    with pytest.raises(RenderingError, match=r"there is no file|of its own kind"):
        render(own)


def test_hidden_files_and_mounts_are_no_templates(own):
    put(own, ".git/body.html", "x")
    put(own, "..2026_01_01/welcome/subject.txt", "mounted")
    (own / "welcome").mkdir()
    (own / "welcome" / "subject.txt").symlink_to(own / "..2026_01_01" / "welcome" / "subject.txt")
    assert render(own, "welcome", name="Ada").subject == "mounted"
    assert catalog.load(Files(BUILTIN, own)).names() == catalog.load(Files(BUILTIN)).names()
