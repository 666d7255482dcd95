"""How a message is written: parts, locales, headers, escaping, determinism and the sentence of a failure."""

from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_catalog import MANIFEST, write

from email_service.kernel.errors import RenderingError, TemplateUnknownError
from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.rendering.renderer import SUBJECT_LIMIT, Rendered, Renderer
from email_service.rendering.variables import Brand

BRAND = Brand(name="Acme & Sons", frontend_url="https://app.example.com")
OPEN = MANIFEST.replace('[variables.properties.name]\ntype = "string"', "[variables.properties.name]").replace(
    "[sample_variables]", '[variables.properties.link]\ntype = "string"\nformat = "uri"\n[sample_variables]'
)


def build(folder: Path, locales: tuple[str, ...] = (), **parts: str) -> Renderer:
    write(folder, "hello", OPEN, locales)
    for part, source in parts.items():
        (folder / "hello" / part.replace("_", ".")).write_text(source)
    return Renderer(Files(folder), catalog.load(Files(folder)), BRAND)


def render(folder: Path, name: object = "Ada", locale: str | None = None, **parts: str) -> Rendered:
    return build(folder, **parts).render("hello", {"name": name}, locale)


def test_the_three_parts_are_rendered_together(tmp_path):
    found = render(
        tmp_path, subject_txt="Hi {{ name }}", body_html="<p>{{ name }}</p>", body_txt="{{ name }} {{ locale }}"
    )
    assert (found.subject, found.text, found.locale) == ("Hi Ada", "Ada en", "en")
    assert "<p>Ada</p>" in found.html
    assert found.version == catalog.load(Files(tmp_path)).get("hello").version


def test_a_locale_is_taken_whole_and_falls_back(tmp_path):
    renderer = build(tmp_path, locales=("pt", "de"))
    for asked, given in (("pt-BR", "pt"), ("de", "de"), ("fr", "en"), (None, "en")):
        found = renderer.render("hello", {"name": "Ada"}, asked)
        assert found.locale == given
        assert found.subject == f"{'hello' if given == 'en' else given} Ada" == found.text


def test_an_unknown_template_is_refused(tmp_path):
    with pytest.raises(TemplateUnknownError):
        build(tmp_path).render("hallo", {})


def test_html_is_escaped_and_text_is_not(tmp_path):
    """T22."""
    hostile = "<a href='x'>\"Ada\" & Co</a><script>"
    found = render(
        tmp_path, hostile, body_html='<p title="{{ name }}">{{ name }}</p>', body_txt="{{ name }} {{ brand.name }}"
    )
    tags: list[tuple[str, object]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))  # type: ignore[method-assign]
    parser.feed(found.html)
    assert tags == [("html", []), ("head", []), ("body", []), ("p", [("title", hostile)])]
    assert found.text == f"{hostile} Acme & Sons"


@pytest.mark.parametrize(
    "taken", ["{% include '_layout/words.txt' %}", "{% from '_layout/words.txt' import say %}{{ say(name) }}"]
)
def test_html_does_not_take_in_unescaped_text(tmp_path, taken):
    """T22: a macro of a text file would hand html through as if it had been escaped."""
    (tmp_path / "_layout").mkdir()
    (tmp_path / "_layout" / "words.txt").write_text("{% macro say(x) %}{{ x }}{% endmacro %}")
    with pytest.raises(RenderingError, match=r"hello/body.html, line 1: .* own kind"):
        render(tmp_path, "<b>", body_html=taken)


def test_a_macro_of_an_html_file_escapes(tmp_path):
    """T22."""
    (tmp_path / "_layout").mkdir()
    (tmp_path / "_layout" / "words.html").write_text("{% macro say(x) %}<i>{{ x }}</i>{% endmacro %}")
    found = render(tmp_path, "<b>", body_html="{% from '_layout/words.html' import say %}{{ say(name) }}")
    assert "<i>&lt;b&gt;</i>" in found.html


@pytest.mark.parametrize(
    "name",
    [
        "a\r\nBcc: x@y",
        "a\nb",
        "a\x00b",
        "a\u2028b",
        "a\u2029b",
        "a\x85b",
        "a\x0bb",
        "a\u202eb",
        "a\u2066b\u2069",
        "a\x1bb",
        "a\x7fb",
    ],
)
def test_a_subject_is_one_line_of_printable_characters(tmp_path, name):
    """T19."""
    subject = render(tmp_path, name, subject_txt="Hi\n {{ name }}\n").subject
    assert subject.startswith("Hi a")
    assert subject.isprintable()


def test_a_subject_is_neither_empty_nor_endless(tmp_path):
    """T19."""
    renderer = build(tmp_path, subject_txt="{{ name }}")
    assert renderer.render("hello", {"name": "x" * SUBJECT_LIMIT}).subject == "x" * SUBJECT_LIMIT
    with pytest.raises(RenderingError, match="more than 400 characters"):
        renderer.render("hello", {"name": "x" * (SUBJECT_LIMIT + 1)})
    with pytest.raises(RenderingError, match="subject is empty"):
        renderer.render("hello", {"name": " \u202e\x00"})


def test_a_display_name_is_no_link_in_the_bodies_and_whole_in_the_subject(tmp_path):
    """T22."""
    found = render(tmp_path, "evil.example", subject_txt="{{ name }}", body_txt="{{ subject }} {{ name }}")
    assert found.subject == "evil.example"
    assert "evil.example" not in found.text + found.html
    assert found.text.replace("\u200c", "") == "evil.example evil.example"


def test_a_variable_is_never_template_source(tmp_path):
    """T21."""
    name = "{{ 7 * 7 }}{% for x in y %}{# #}${7*7}"
    found = render(tmp_path, name, subject_txt="{{ name }}", body_html="{{ name }}", body_txt="{{ name }}")
    assert found.subject == found.text == name
    assert "49" not in found.html


def test_the_same_variables_give_the_same_bytes_in_every_thread(tmp_path):
    renderer = build(tmp_path, body_html="{% for x in name %}<p>{{ x }}</p>{% endfor %}")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: renderer.render("hello", {"name": ["a", "b", "c"]}), range(200)))
    assert len(found) == 1
    assert found == {
        Renderer(Files(tmp_path), catalog.load(Files(tmp_path)), BRAND).render("hello", {"name": ["a", "b", "c"]})
    }


def test_one_failure_does_not_hurt_the_next_message(tmp_path):
    """F13."""
    renderer = build(tmp_path)
    for _ in range(3):
        with pytest.raises(RenderingError):
            renderer.render("hello", {})
        assert renderer.render("hello", {"name": "Ada"}).subject == "hello Ada"


@pytest.mark.parametrize(
    ("source", "place", "reason"),
    [
        ("\n\n{{ nobody }}", "hello/body.html, line 3", "'nobody' is undefined"),
        ("\n{% if %}", "hello/body.html, line 2", "Expected an expression"),
        ("\n{{ name + 1 }}", "hello/body.html, line 2", "can only concatenate str"),
        ("{% extends 'no.html' %}", "hello/body.html, line 1", "there is no file no.html"),
        ("\n{{ 1 / 0 }}", "hello/body.html, line 2", "division by zero"),
        ("{% include 'hello/body.html' %}", "hello/body.html, line 1", "calls itself without end"),
        ("{% extends '../../etc/passwd.html' %}", "hello/body.html, line 1", "there is no file"),
    ],
)
def test_a_failure_names_template_file_and_line(tmp_path, source, place, reason):
    """F13."""
    with pytest.raises(RenderingError) as caught:
        render(tmp_path, body_html=source)
    assert caught.value.detail.startswith(f"The template 'hello' cannot be rendered: {place}: ")
    assert reason in caught.value.detail


def test_a_failure_does_not_repeat_a_value(tmp_path):
    """T27."""
    renderer = build(tmp_path, body_txt="{{ name[link] }}")
    with pytest.raises(RenderingError) as caught:
        renderer.render("hello", {"name": ["a"], "link": "javascript:secret"})
    assert "secret" not in caught.value.detail


def test_a_surrogate_is_a_failure_of_this_message_only(tmp_path):
    """F13."""
    with pytest.raises(RenderingError, match="surrogate"):
        render(tmp_path, "\ud800")


def test_a_foreign_object_never_reaches_a_template(tmp_path):
    """T21."""
    with pytest.raises(RenderingError, match=r"of the type \w*Path"):
        build(tmp_path).render("hello", {"name": tmp_path.parent / "x"})


def test_styles_are_inlined_and_files_are_not_read(tmp_path):
    (tmp_path / "_layout").mkdir()
    (tmp_path / "_layout" / "style.css").write_text(".a { color: #123456 }")
    (tmp_path / "evil.css").write_text(".a { border: 9px solid }")
    link = f'<link rel="stylesheet" href="{(tmp_path / "evil.css").as_uri()}"><link rel="stylesheet" href="evil.css">'
    found = render(tmp_path, body_html=f'<html><head>{link}</head><body><p class="a">x</p></body></html>')
    assert '<p class="a" style="color: #123456' in found.html
    assert "9px" not in found.html
