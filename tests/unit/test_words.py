"""The catalogues of words: what a locale may say and what it may not, and how a mistake with them is told."""

from pathlib import Path

import pytest
from test_catalog import mistakes, write
from test_renderer import OPEN, Rendered

from email_service.authoring import checks
from email_service.kernel.errors import RenderingError, SettingsError
from email_service.kernel.locales import choose
from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.rendering.renderer import Renderer
from email_service.rendering.variables import Brand

BRAND = Brand(name="Acme & Sons", frontend_url="https://app.example.com")
ENGLISH = """
[shared]
hello = "Hello {name},"
[hello]
heading = "Fish & {name}"
terms = "It works once, **{when}**, says {brand}."
"""
GERMAN = """
[shared]
hello = "Guten Tag {name},"
[hello]
heading = "{name} & Fisch"
terms = "{brand} sagt: **{when}**, einmal."
"""
ARABIC = """
[shared]
hello = "{name}!"
[hello]
heading = "x {name}"
terms = "x **{when}** {brand}."
"""
SAID = '{{ say("hello", name=name) }} {{ say("heading", name=name) }} {{ say("terms", when=60 | lifetime) }}'


def build(folder: Path, said: str = SAID, **words: str) -> None:
    """A template that says something, in the languages given; an underscore stands for the hyphen of a locale."""
    write(folder, "hello", OPEN)
    for part in catalog.PARTS:
        (folder / "hello" / part).write_text(said)
    (folder / "_words").mkdir(exist_ok=True)
    for locale, text in {"en": ENGLISH, "de": GERMAN, **words}.items():
        (folder / "_words" / f"{locale.replace('_', '-')}.toml").write_text(text)


def render(folder: Path, locale: str, name: str = "Ada") -> Rendered:
    return Renderer(Files(folder), catalog.load(Files(folder)), BRAND).render("hello", {"name": name}, locale)


def test_one_template_speaks_every_language_there_are_words_for(tmp_path):
    build(tmp_path, ar=ARABIC)
    assert catalog.load(Files(tmp_path)).get("hello").locales == ("en", "ar", "de")
    assert render(tmp_path, "en").text == "Hello Ada, Fish & Ada It works once, in 1 hour, says Acme & Sons."
    assert render(tmp_path, "de-AT").text == "Guten Tag Ada, Ada & Fisch Acme & Sons sagt: in 1 Stunde, einmal."
    assert render(tmp_path, "sv").locale == "en"


def test_words_and_what_is_put_in_them_are_escaped_in_html_and_strong_where_they_say_so(tmp_path):
    """T22."""
    build(tmp_path, '<!doctype html>\n<p title="{{ say("heading", name=name) }}">{{ say("terms", when=name) }}</p>')
    html = render(tmp_path, "en", '<b "x">').html
    assert 'title="Fish &amp; &lt;b &#34;x&#34;&gt;"' in html
    assert 'once, <strong class="strong">&lt;b &#34;x&#34;&gt;</strong>, says Acme &amp; Sons.' in html


def test_names_are_isolated_where_words_run_from_the_right(tmp_path):
    build(tmp_path, ar=ARABIC)
    assert "x \u2068Ada\u2069" in render(tmp_path, "ar").text
    assert render(tmp_path, "ar").subject.isprintable()


def test_a_sentence_can_be_a_value(tmp_path):
    build(tmp_path, '{% set label = say("heading", name=name) %}{{ label }}{{ say("hello", name="<i>") if name }}')
    found = render(tmp_path, "de")
    assert found.text == "Ada & FischGuten Tag <i>,"
    assert "Ada &amp; FischGuten Tag &lt;i&gt;," in found.html


def test_a_variable_is_never_read_as_words(tmp_path):
    """T21: neither a place nor a mark in a name means anything."""
    build(tmp_path, '{{ say("hello", name=name) }}')
    assert render(tmp_path, "en", "{brand} **x** {{ 7 * 7 }}").text == "Hello {brand} **x** {{ 7 * 7 }},"


@pytest.mark.parametrize(
    ("said", "mistake"),
    [
        ('{{ say("nothing") }}', "'nothing' of [hello] in _words/de.toml is not there"),
        ('{{ say("hello") }}', "'hello' of [hello] in _words/de.toml and the template do not both have name"),
        ('{{ say("hello", name=name, x=1) }}', "do not both have x"),
        ('{% set x = say("terms", when=1) %}', "has a **, which only works where"),
        ("{{ say(name) }}", "has to be called like say("),
        ('{{ say("hello", **{"name": 1}) }}', "has to be called like say("),
        ("{{ say() }}", "has to be called like say("),
    ],
)
def test_a_template_that_says_what_it_cannot_is_told_file_locale_and_entry(tmp_path, said, mistake):
    build(tmp_path, "\n" + said)
    with pytest.raises(RenderingError) as caught:
        render(tmp_path, "de")
    assert caught.value.detail.startswith("The template 'hello' cannot be rendered: hello/subject.txt, line 2: ")
    assert mistake in caught.value.detail
    found = checks.check(Files(tmp_path), BRAND)
    assert any(mistake.replace("de.toml", "en.toml") in each.message for each in found)


def test_the_layout_says_what_is_for_all_and_not_what_a_template_says(tmp_path):
    build(tmp_path, "{% extends '_layout/frame.EXT' %}{% block body %}{{ say('heading', name=name) }}{% endblock %}")
    (tmp_path / "_layout").mkdir()
    for part, kind in zip(catalog.PARTS, ("txt", "html", "txt"), strict=True):
        path = tmp_path / "hello" / part
        path.write_text(path.read_text().replace("EXT", kind))
        frame = "{{ say('hello', name=name) }}{% block body %}{% endblock %}"
        (tmp_path / "_layout" / f"frame.{kind}").write_text(frame)
    assert render(tmp_path, "de").text == "Guten Tag Ada,Ada & Fisch"
    (tmp_path / "_layout" / "frame.txt").write_text("{{ say('heading', name=name) }}")
    with pytest.raises(RenderingError, match=r"_layout/frame.txt, line 1: 'heading' of \[_layout\]"):
        render(tmp_path, "de")


@pytest.mark.parametrize(
    ("before", "after", "pointer", "mistake"),
    [
        ('hello = "Guten Tag {name},"\n', "", "shared/hello", "is missing"),
        ("heading =", "title =", "hello/title", "is not in en.toml"),
        ("{name} & Fisch", "{nam} & Fisch", "hello/heading", "and en.toml do not both have {nam}, {name}"),
        ("{name} & Fisch", "{name & Fisch", "hello/heading", "has a brace that belongs to no place such as {name}"),
        ("{name} & Fisch", "{name.x} & Fisch", "hello/heading", "has a brace that belongs to no place such as {name}"),
        ("**{when}**", "**{when}", "hello/terms", "has a ** without its other half"),
        ("{name} & Fisch", "", "hello/heading", "has to be one line of words"),
        ("{name} & Fisch", " {name}", "hello/heading", "has to be one line of words"),
        ("{name} & Fisch", "{name}\\nFisch", "hello/heading", "has to be one line of words"),
        ("{name} & Fisch", "{name} \\u202eFisch", "hello/heading", "has to be one line of words"),
        ('"{name} & Fisch"', "1", "hello/heading", "has to be one line of words"),
        ("[hello]", "[hallo]", "hallo", "is no template"),
        ("[shared]\n", "loose = 'x'\n[shared]\n", "loose", "has to stand in a table"),
        ("[shared]", "[shared", "", "cannot be read: "),
    ],
)
def test_a_locale_that_says_less_more_or_other_things_is_refused(tmp_path, before, after, pointer, mistake):
    build(tmp_path, de=GERMAN.replace(before, after))
    found = mistakes(tmp_path)
    place = f"/_words/de.toml/{pointer}".rstrip("/")
    assert found[place].startswith(mistake)
    findings = checks.check(Files(tmp_path), BRAND)
    assert [(each.file, each.message) for each in findings] == [
        ("_words/de.toml", f"{place.removeprefix('/_words/de.toml/')} {message}".removeprefix("/_words/de.toml "))
        for place, message in found.items()
    ]


def test_a_translation_may_name_the_brand_or_not(tmp_path):
    build(tmp_path, de=GERMAN.replace("{brand} sagt", "Er sagt"))
    assert "Er sagt: in 1 Stunde, einmal." in render(tmp_path, "de").text


def test_a_file_is_named_after_a_locale_and_the_base_locale_is_there(tmp_path):
    build(tmp_path, german=GERMAN)
    (tmp_path / "_words" / "en.toml").unlink()
    assert mistakes(tmp_path) == {
        "/_words/en.toml": "is missing",
        "/_words/german.toml": "has to be named after a locale such as pt or pt-BR",
    }


def test_a_template_may_be_left_out_in_a_locale_and_what_is_for_all_may_not(tmp_path):
    build(tmp_path, fr='[shared]\nhello = "Bonjour {name},"')
    assert catalog.load(Files(tmp_path)).get("hello").locales == ("en", "de")
    (tmp_path / "_words" / "fr.toml").write_text(GERMAN.replace('[shared]\nhello = "Guten Tag {name},"', ""))
    assert mistakes(tmp_path) == {"/_words/fr.toml/shared": "is missing"}


def test_files_of_a_locales_own_come_before_the_shared_ones_and_may_say_too(tmp_path):
    build(tmp_path)
    own = tmp_path / "hello" / "de"
    own.mkdir()
    for part in catalog.PARTS:
        (own / part).write_text('Eigenes: {{ say("heading", name=name) }}')
    assert render(tmp_path, "de").text == "Eigenes: Ada & Fisch"
    assert render(tmp_path, "en").text.startswith("Hello Ada")
    own.rename(tmp_path / "hello" / "sv")  # for which there are no words: it borrows those of the base locale
    assert render(tmp_path, "sv").text == "Eigenes: Fish & Ada"


def test_the_version_follows_a_templates_own_words_in_every_locale_and_those_for_all(tmp_path):
    build(tmp_path)
    write(tmp_path, "other")
    versions = [catalog.load(Files(tmp_path)).get("hello").version]
    for locale, before, after in [("de", "Fisch", "Fische"), ("en", "Hello", "Hi"), ("de", "Guten Tag", "Hallo")]:
        path = tmp_path / "_words" / f"{locale}.toml"
        path.write_text(path.read_text().replace(before, after))
        versions.append(catalog.load(Files(tmp_path)).get("hello").version)
    assert len(set(versions)) == len(versions)
    path.write_text("# A comment.\n" + path.read_text())
    with (tmp_path / "_words" / "en.toml").open("a") as file:
        file.write('[other]\nheading = "Other"\n')
    assert catalog.load(Files(tmp_path)).get("hello").version == versions[-1]


def test_a_sentence_that_nobody_says_is_found(tmp_path):
    build(tmp_path, '{{ say("hello", name=name) }}')
    unsaid = [each for each in checks.check(Files(tmp_path), BRAND) if "said by no" in each.message]
    assert [(each.file, each.message, each.is_error) for each in unsaid] == [
        ("_words/en.toml", "'heading' of [hello] is said by no template", False),
        ("_words/en.toml", "'terms' of [hello] is said by no template", False),
    ]


def test_words_that_cannot_be_read_name_their_file(tmp_path):
    build(tmp_path)
    (tmp_path / "_words" / "de.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"_words/de.toml cannot be read"):
        catalog.load(Files(tmp_path))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["pt-PT"], "pt-BR"),
        (["pt"], "pt-BR"),
        (["zh-CN"], "zh-Hans"),
        (["zh-Hant-TW"], "zh-Hans"),
        (["de-AT", "en"], "de"),
        (["sv", "de"], "de"),
        (["sv"], "en"),
        ([""], "en"),
        ([], "en"),
    ],
)
def test_a_reader_gets_the_nearest_language(wanted, chosen):
    assert choose(wanted, ["en", "de", "pt-BR", "zh-Hans"]) == chosen
