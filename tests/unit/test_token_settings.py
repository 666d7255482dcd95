"""The settings of tokens: how long each purpose's live, where its link leads, who exists and who signs."""

import pytest

from email_service.app import _find_terms, create_brand
from email_service.kernel.errors import SettingsError
from email_service.settings import AccountDirectory, Settings, load
from email_service.tokens.purposes import RULES, Purpose


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(**environ: str) -> Settings:
    return load(environ, env_file=None)


def mistake(name: str, value: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    [fault] = caught.value.faults
    assert fault.pointer == name
    return fault.message


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_has_a_lifetime_and_every_link_a_page(purpose):
    terms = _find_terms(read(FRONTEND_URL="https://app.example.com"))[purpose]
    assert terms.ttl_seconds >= 60
    assert (terms.page is not None) == RULES[purpose].has_link
    assert terms.page is None or terms.page.startswith("https://app.example.com/")


@pytest.mark.parametrize("purpose", [purpose for purpose in Purpose if RULES[purpose].has_link])
def test_without_a_front_end_links_lead_to_pages_of_this_service(purpose):
    """T17: also with a path for a front end that there is not."""
    path = f"/pages/{purpose.replace('_', '-')}"
    settings = read(**{f"LINK_PATH_{purpose.upper()}": "/in"})
    assert _find_terms(settings)[purpose].page == f"http://127.0.0.1:8000{path}"
    settings = read(PUBLIC_URL="https://mail.example.com/")
    assert _find_terms(settings)[purpose].page == f"https://mail.example.com{path}"


@pytest.mark.parametrize("written", ["mail.example.com", "https://mail.example.com/pages", "ftp://mail.example.com"])
def test_what_is_no_place_of_this_service_is_a_mistake(written):
    """T17, T18"""
    assert "https://" in mistake("PUBLIC_URL", written)


def test_mail_names_the_front_end_or_this_service():
    assert create_brand(read(PUBLIC_URL="https://mail.example.com")).frontend_url == "https://mail.example.com"
    both = read(PUBLIC_URL="https://mail.example.com", FRONTEND_URL="https://app.example.com")
    assert create_brand(both).frontend_url == "https://app.example.com"


@pytest.mark.parametrize(
    ("written", "seconds"), [("90s", 90), ("15min", 900), ("24h", 86_400), ("30d", 2_592_000), (" 2 H ", 7200)]
)
def test_a_lifetime_is_a_span_of_time(written, seconds):
    assert read(TOKEN_TTL_PASSWORD_RESET=written).token_ttl_password_reset == seconds


@pytest.mark.parametrize("written", ["3600", "1m", "0s", "59s", "31d", "1.5h", "-1h", "1h30min", "h", "\u0663\u0660d"])
def test_what_is_no_lifetime_is_a_mistake(written):
    """T5"""
    assert "15min" in mistake("TOKEN_TTL_LOGIN_CODE", written)


@pytest.mark.parametrize("written", ["/in", "/a/b-c_d.html", "/reset/", "/%7Euser", "/:locale"])
def test_a_page_is_a_path(written):
    settings = read(LINK_PATH_MAGIC_LINK=written, FRONTEND_URL="https://app.example.com")
    assert _find_terms(settings)[Purpose.MAGIC_LINK].page == f"https://app.example.com{written}"


@pytest.mark.parametrize(
    "written",
    ["in", "//evil.example", "/\\evil.example", "https://evil.example/", "/a?b=c", "/a#b", "/a b", "/ä", "/a//b"],
)
def test_what_leads_elsewhere_is_a_mistake(written):
    """T18"""
    assert "/reset-password" in mistake("LINK_PATH_PASSWORD_RESET", written)


def test_there_is_no_page_for_a_code():
    assert not hasattr(read(), "link_path_login_code")


@pytest.mark.parametrize("word", [AccountDirectory.REGISTRY, AccountDirectory.NONE])
def test_the_directory_is_one_of_those_that_there_are(word):
    assert read(ACCOUNT_DIRECTORY=word).account_directory is word
    mistake("ACCOUNT_DIRECTORY", "somewhere")


def test_the_issuer_is_one_line():
    assert read().token_issuer == "email-service"
    assert read(TOKEN_ISSUER="https://mail.example.com").token_issuer == "https://mail.example.com"
    mistake("TOKEN_ISSUER", "a\nb")
