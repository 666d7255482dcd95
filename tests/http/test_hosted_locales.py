"""The hosted pages in every language: the same entries, no words left in English, and the reader's own language."""

import re
import tomllib

import pytest

from email_service.hosted_pages import wording
from email_service.hosted_pages.drawing import Pages
from email_service.settings import resource
from tests.hosted import CALLS, CODE, HOSTILE, Document, call_all
from tests.strangers import Stranger

FOLDER = resource("templates") / "pages"
LOCALES = ["en", "ar", "de", "es", "fr", "it", "ja", "nl", "pl", "pt-BR", "tr", "zh-Hans"]
THE_SAME_IN_ENGLISH = {"ltr", "Code", "Error"}
PLACEHOLDER = re.compile(r"\{\w*\}")


def entries(locale: str) -> dict[str, str]:
    """The sentences of a locale by where they stand."""
    found = {}

    def walk(place: str, value: object) -> None:
        if isinstance(value, str):
            found[place] = value
            return
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            walk(f"{place}.{name}", each)

    walk("", tomllib.loads((FOLDER / f"{locale}.toml").read_text(encoding="utf-8")))
    return found


def text_of(html: str) -> str:
    """What a page says, with its title and without its style."""
    return re.sub(r"(?s)<style>.*?</style>|<[^>]*>", "\n", html)


def test_these_are_the_locales_there_are():
    assert list(wording.load(FOLDER, "Acme")) == LOCALES


@pytest.mark.parametrize("locale", LOCALES[1:])
def test_every_sentence_is_there_is_translated_and_names_what_the_english_one_names(locale):
    english, translated = entries("en"), entries(locale)
    assert translated.keys() == english.keys()
    assert {text for place, text in translated.items() if text == english[place]} <= THE_SAME_IN_ENGLISH
    for place, text in translated.items():
        assert text == text.strip() != ""
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(english[place])), place
        assert ("FRONTEND_URL" in text) == ("FRONTEND_URL" in english[place]), place


@pytest.mark.parametrize("locale", LOCALES)
def test_every_page_speaks_the_readers_language_and_says_so(house, locale):
    """T10, T18"""
    direction = "rtl" if locale == "ar" else "ltr"
    english = set(entries("en").values()) - THE_SAME_IN_ENGLISH
    drawn = 0
    for response in call_all(house, **{"Accept-Language": locale}):
        drawn += 1
        document = Document(response.text)
        assert document.all("html") == [{"lang": locale, "dir": direction}]
        assert (response.headers["Content-Language"], response.headers["Vary"]) == (locale, "Accept-Language")
        assert document.all("script") == []
        said = text_of(response.text)
        assert PLACEHOLDER.findall(said) == []
        assert locale == "en" or not english & {line.strip() for line in said.splitlines()}
    assert drawn == len(CALLS)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_products_name_stays_text_in_every_language(house, locale):
    """T18"""
    pages = Pages(FOLDER, HOSTILE, None)
    with house.app.test_request_context(headers={"Accept-Language": locale}):
        drawn = [
            pages.draw("start", has_front_end=False),
            pages.draw("confirm", about="email-change", token=HOSTILE),
            pages.draw("confirmed", about="email-verification"),
            pages.draw("gone", reason="token_used", can_be_asked_for=False),
            pages.draw("code", error="email", fields={"email": HOSTILE}),
            pages.draw("product"),
            pages.draw("problem", reason="rate_limited", minutes="15"),
        ]
    for response in drawn:
        text = response.get_data(as_text=True)
        assert Document(text).all("script") == []
        assert "{{ 7*7 }}" in text
    assert "15" in text_of(drawn[-1].get_data(as_text=True))


@pytest.mark.parametrize(
    ("wanted", "locale"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("DE", "de"),
        ("pt", "pt-BR"),
        ("pt-PT,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh-Hans-CN,en-US;q=0.9", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("ar-EG", "ar"),
        ("en-GB,fr;q=0.9", "en"),
        ("en;q=0.3,ja;q=0.7", "ja"),
        ("fr-CA,de", "fr"),
        ("sv,nl;q=0.5", "nl"),
        ("fr;q=0,es;q=0.1", "es"),
        ("fr;q=0", "en"),
        ("*", "en"),
        ("*,it;q=0.5", "it"),
        ("tlh", "en"),
        ("", "en"),
        (";;,=q=,\x7f", "en"),
        ("-".join("a" * 2000), "en"),
    ],
)
def test_the_first_language_that_there_is_wins(house, wanted, locale):
    response = Stranger(house).request("GET", CODE, headers={"Accept-Language": wanted})
    assert (response.status_code, response.headers["Content-Language"]) == (200, locale)


def test_who_asks_for_no_language_gets_english(house):
    assert Stranger(house).request("GET", CODE).headers["Content-Language"] == "en"


def test_a_name_from_the_left_keeps_its_place_amid_words_from_the_right():
    """Unicode UAX 9: else its last exclamation mark would jump before its first letter."""
    words = wording.load(FOLDER, "Acme!")
    isolated = "\N{FIRST STRONG ISOLATE}Acme!\N{POP DIRECTIONAL ISOLATE}"
    for locale, found in words.items():
        assert ("Acme!" in found["start"]["heading"], isolated in found["start"]["heading"]) == (True, locale == "ar")


def test_the_start_page_speaks_to_the_operator_only_while_there_is_no_front_end(house, reopen):
    """T30: it is where a mail's brand leads, and only instances for the public have it."""
    assert "FRONTEND_URL" in Stranger(house).request("GET", "/").text
    with_front_end = Stranger(reopen(FRONTEND_URL="https://app.example.com")).request("GET", "/")
    assert (with_front_end.status_code, "FRONTEND_URL" in with_front_end.text) == (200, False)
    internal = Stranger(reopen(EXPOSE="internal")).request("GET", "/")
    assert (internal.status_code, internal.mimetype) == (404, "application/problem+json")


def test_no_line_ends_after_the_first_letter_of_a_mail():
    """Unicode UAX 14: narrow screens would read "E-" and "Mail"; a product's own name is left as it is."""
    words = wording.load(FOLDER, "E-Plus")
    assert words["de"]["mail"]["heading"] == "Weitere E-\N{WORD JOINER}Mail anfordern"
    assert words["de"]["start"]["heading"] == "E-\N{WORD JOINER}Mails von E-Plus"
