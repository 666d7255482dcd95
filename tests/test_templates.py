"""The templates that ship, in every language: each renders what its schema lets in, is sound, and fetches nothing."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pages
import pytest
from css_inline import CSSInliner

from email_service.authoring import checks
from email_service.kernel.errors import InvalidInputError
from email_service.rendering import catalog
from email_service.rendering.files import Files
from email_service.rendering.renderer import Renderer
from email_service.rendering.sandbox import Sandbox
from email_service.rendering.variables import Brand, unlink

FOLDER = Path(__file__).parents[1] / "templates" / "email"
CATALOG = catalog.load(Files(FOLDER))
LINK = "https://app.example.com/open?token=abc&next=%2Fhome"
BRANDS = {
    "plain": Brand(name="Acme", frontend_url="https://app.example.com"),
    "full": Brand(
        name="Acme",
        frontend_url="https://app.example.com",
        logo_url="https://app.example.com/logo.png",
        support_email="support@example.com",
        color="#fbbf24",
    ),
}
RENDERERS = {name: Renderer(Files(FOLDER), CATALOG, brand) for name, brand in BRANDS.items()}
FULL = BRANDS["full"]
LOCALES = [(template.name, locale) for template in CATALOG for locale in template.locales]
HOSTILE = "\u202e\u2066\"><img src=x onerror=alert(1)>{{7*7}} http://evil.example '&"
VOID = {"br", "img", "meta", "link", "hr", "input"}


class Page(HTMLParser):
    """Reads html strictly: every element that opens closes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice on <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


# One value for each form of text that a schema may ask for.
EXAMPLES = {"uri": LINK, "date": "2028-02-29", "date-time": "2016-12-31T23:59:60.123456789Z"}
PATTERNED = ("ABCD-1234567", "EUR", "-999999999999.999")


def value_for(schema: dict[str, Any], text: str) -> Any:
    """The longest value that a variable's schema lets in, made of `text`."""
    match schema:
        case {"type": "integer" | "number", "maximum": value}:
            return value
        case {"type": "array", "maxItems": count, "items": items}:
            return [value_for(items, text)] * count
        case {"type": "object", "properties": properties}:
            return {key: value_for(each, text) for key, each in properties.items()}
        case {"maxLength": length}:
            return (text * length)[:length]
        case {"format": form}:
            return EXAMPLES[form]
    return next(each for each in PATTERNED if re.match(schema["pattern"], each))


def cases(name: str) -> dict[str, dict[str, Any]]:
    template = CATALOG.get(name)
    properties = template.variables_schema["properties"]
    longest = {key: value_for(schema, "W") for key, schema in properties.items()}
    hostile = {key: value_for(schema, HOSTILE) for key, schema in properties.items()}
    required = {key: template.sample_variables[key] for key in template.variables_schema["required"]}
    return {"sample": template.sample_variables, "required": required, "longest": longest, "hostile": hostile}


@cache
def sandbox(brand: str, locale: str) -> Sandbox:
    """The plain way, without any of the short ones."""
    return Sandbox(Files(FOLDER), BRANDS[brand].as_variables(), language=CATALOG.words.speak(locale))


@pytest.mark.parametrize("brand", BRANDS)
@pytest.mark.parametrize("case", ["sample", "required", "longest", "hostile"])
@pytest.mark.parametrize("name", CATALOG.names())
def test_each_template_is_sound_with_whatever_its_schema_lets_in(name, case, brand):
    """T19, T21, T22."""
    variables, marks = cases(name)[case], BRANDS[brand]
    CATALOG.get(name).check_variables(variables)
    for locale in CATALOG.get(name).locales:
        found = RENDERERS[brand].render(name, variables, locale)
        page = Page(found.html)
        tags = {tag for tag, _ in page.elements}
        assert not tags & {"script", "link", "iframe", "object", "form", "base", "svg"}
        assert [attributes["src"] for _, attributes in page.elements if "src" in attributes] == (
            [marks.logo_url] if marks.logo_url else []
        )
        assert not re.search(r"url\(|@import|\bon\w+=", "".join(str(attributes) for _, attributes in page.elements))
        links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
        target = variables.get("action_url", marks.frontend_url)
        assert links <= {marks.frontend_url, f"mailto:{marks.support_email}", target}
        assert target in links
        assert target in found.text
        assert "://evil.example" not in page.words + found.text
        assert "49" not in found.subject
        for words in (page.words, found.text):  # overrides are gone, and only our own isolates are left
            assert not re.search("[\u202a-\u202e\u2066\u2067]", words)
            assert words.count("\u2068") == words.count("\u2069")
        assert len(found.html.encode()) < 60_000
        assert found.subject.isprintable()
        assert "**" not in found.subject + page.words + found.text


@pytest.mark.parametrize("brand", BRANDS)
@pytest.mark.parametrize("case", ["sample", "required", "longest", "hostile"])
@pytest.mark.parametrize("name", CATALOG.names())
def test_each_html_is_what_css_inline_makes_of_what_plain_jinja_writes(name, case, brand):
    """The styles are in the templates before any message is; a browser must not see that."""
    template, variables = CATALOG.get(name), cases(name)[case]
    link = None if brand == "plain" else "https://mail.example.com/pages/unsubscribe?token=a"
    inliner = CSSInliner(load_remote_stylesheets=False, extra_css=(FOLDER / "_layout" / "style.css").read_text())
    for locale in template.locales:
        found = RENDERERS[brand].render(name, variables, locale, link)
        assert found.html.startswith("<!doctype html>\n"), "css-inline had to parse it"
        context = unlink(variables, template.variables_schema) | {
            "subject": unlink(found.subject, {}),
            "unsubscribe_url": link,
        }
        plain, plain_text = (
            sandbox(brand, locale).get_template(path).render(context) for path in template.parts(locale)[1:]
        )
        assert pages.read(found.html) == pages.read(inliner.inline(plain))
        assert found.text == plain_text


def strings(value: Any, schema: dict[str, Any]) -> Iterator[str]:
    """The strings of a variable that a mail has to repeat as they are; dates and sums are written in other ways."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, schema["properties"][key])
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, schema["items"])
    elif (
        isinstance(value, str)
        and "date" not in schema.get("format", "")
        and not re.fullmatch(r"-?\d+\.\d+|[A-Z]{3}", value)
    ):
        yield value


@pytest.mark.parametrize(("name", "locale"), LOCALES)
def test_each_template_says_the_same_in_html_and_text(name, locale):
    sample = CATALOG.get(name).sample_variables
    found = RENDERERS["full"].render(name, sample, locale)
    words = re.sub(r"\s+", " ", Page(found.html).words)
    for each in strings(sample, CATALOG.get(name).variables_schema):
        assert unlink(each, {}) in words or each in words
        assert unlink(each, {}) in found.text or each in found.text
    assert FULL.support_email in words
    assert FULL.support_email in found.text
    assert "<" not in found.text
    assert "\n\n\n" not in found.text
    letters = re.sub(r"\W", "", words)
    for line in found.text.splitlines():
        assert "://" in line or re.sub(r"^\d+\. |\W", "", line) in letters


@pytest.mark.parametrize("locale", [each for each in CATALOG.words.tables if each != "en"])
def test_every_sentence_is_translated(locale):
    """That none is missing, none is too many and all have the same places is what loading them sees to."""
    english, translated = CATALOG.words.tables["en"], CATALOG.words.tables[locale]
    assert translated.keys() == english.keys()
    same = {said for table in english for entry, said in english[table].items() if translated[table][entry] == said}
    assert same <= {"Date", "Description", "Subtotal", "Total"}


@pytest.mark.parametrize(
    ("locale", "sums"),
    [("en", ["€1,188.00", "€1,483.93"]), ("de", ["1.188,00 €", "1.483,93 €"]), ("ja", ["€1,188.00", "€1,483.93"])],
)
def test_a_receipt_writes_its_sums_as_its_reader_does(locale, sums):
    found = RENDERERS["plain"].render("receipt", CATALOG.get("receipt").sample_variables, locale)
    for words in (Page(found.html).words, found.text):
        assert [each for each in sums if each in words.replace("\u00a0", " ")] == sums


@pytest.mark.parametrize(("name", "locale"), LOCALES)
def test_each_html_is_accessible_and_ready_for_dark_mode_and_small_screens(name, locale):
    html = RENDERERS["full"].render(name, CATALOG.get(name).sample_variables, locale).html
    elements = Page(html).elements
    root = next(attributes for tag, attributes in elements if tag == "html")
    assert root == {"lang": locale, "dir": "rtl" if locale == "ar" else "ltr"}
    tables = [attributes for tag, attributes in elements if tag == "table"]
    headed = sum(attributes.get("scope") == "col" for _, attributes in elements) > 0
    assert sum(attributes.get("role") != "presentation" for attributes in tables) == headed
    assert all(attributes.get("alt") for tag, attributes in elements if tag == "img")
    assert sum(tag == "h1" for tag, _ in elements) == 1
    assert {"name": "color-scheme", "content": "light dark"} in [
        attributes for tag, attributes in elements if tag == "meta"
    ]
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media (max-width: 480px)" in html
    assert 'class="content" style="' in html


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, "1 minute"),
        (45, "45 minutes"),
        (60, "1 hour"),
        (90, "90 minutes"),
        (1440, "24 hours"),
        (10080, "7 days"),
    ],
)
def test_an_expiry_is_said_in_words(minutes, words):
    found = RENDERERS["plain"].render("password-reset", {"action_url": LINK, "expires_in_minutes": minutes})
    assert f"expires in {words}." in found.text
    assert f"expires in {words}." in Page(found.html).words


def test_the_password_mail_tells_what_to_do_and_what_we_never_do():
    found = RENDERERS["full"].render("password-reset", {"action_url": LINK})
    for sentence in ("works once", "Was this not you?", "never asks for your password", "your password stays as it is"):
        assert sentence in found.text
        assert sentence in Page(found.html).words


@pytest.mark.parametrize("name", ["password-reset", "email-verification", "user-invitation"])
def test_token_mail_is_sensitive_and_in_its_own_lane(name):
    template = CATALOG.get(name)
    assert (template.lane, template.is_sensitive, template.on_uncertain) == ("token", True, "retry")


@pytest.mark.parametrize("name", ["Ada\r\nBcc: eve@example.com", "Ada\x00", "x" * 101, ""])
def test_a_name_that_is_none_is_refused(name):
    """T19, T22."""
    with pytest.raises(InvalidInputError) as caught:
        CATALOG.get("welcome").check_variables({"name": name, "unknown": 1})
    assert {fault.pointer for fault in caught.value.faults} == {"/variables/name", "/variables/unknown"}


@pytest.mark.parametrize("brand", BRANDS)
def test_the_check_finds_nothing(brand):
    assert [str(each) for each in checks.check(Files(FOLDER), BRANDS[brand])] == []


def test_inlining_touches_no_network(tmp_path):
    """T23: a stylesheet link in a template is not followed."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(30)

        def meet() -> object:
            connection, knocker = server.accept()
            connection.close()
            return knocker

        first = pool.submit(meet)
        place = tmp_path / "hello"
        place.mkdir()
        (place / "manifest.toml").write_text((FOLDER / "welcome" / "manifest.toml").read_text())
        address = server.getsockname()
        link = f'<link rel="stylesheet" href="http://127.0.0.1:{address[1]}/x.css">'
        for part in catalog.PARTS:
            (place / part).write_text(f"<html><head>{link}</head><body><p>x</p></body></html>")
        Renderer(Files(tmp_path), catalog.load(Files(tmp_path)), FULL).render("hello", {"name": "Ada"})
        # Whoever knocked before us would be the first.
        with socket.create_connection(address) as ours:
            assert first.result() == ours.getsockname()
