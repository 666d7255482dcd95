"""The settings of a directory that is the main app: all of them or none, and nothing in the clear over the internet."""

import pytest

from email_service.accounts.http_directory import HttpDirectory
from email_service.app import _choose_directory
from email_service.kernel.errors import SettingsError
from email_service.settings import AccountDirectory, Settings, load

SECRET = "a-secret-that-both-sides-know-0123456789"
URL = "https://app.example.com/internal/accounts"
WHOLE = {"ACCOUNT_DIRECTORY": "http", "ACCOUNT_DIRECTORY_URL": URL, "ACCOUNT_DIRECTORY_SECRET": SECRET}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(**changes: str) -> Settings:
    return load({**WHOLE, **changes}, env_file=None)


def mistakes(**changes: str) -> set[str]:
    with pytest.raises(SettingsError) as caught:
        read(**changes)
    assert SECRET not in str(caught.value)
    return {fault.pointer for fault in caught.value.faults}


def test_the_main_app_is_asked_when_all_is_set():
    settings = read(ACCOUNT_DIRECTORY_PRIVATE_HOSTS="main-app, 10.0.0.7")
    assert settings.account_directory is AccountDirectory.HTTP
    assert settings.account_directory_private_hosts == ("main-app", "10.0.0.7")
    assert isinstance(_choose_directory(settings), HttpDirectory)


def test_what_is_missing_is_named():
    assert mistakes(ACCOUNT_DIRECTORY_URL="") == {"ACCOUNT_DIRECTORY_URL"}
    assert mistakes(ACCOUNT_DIRECTORY_SECRET="") == {"ACCOUNT_DIRECTORY_SECRET"}
    assert mistakes(ACCOUNT_DIRECTORY_URL="", ACCOUNT_DIRECTORY_SECRET="") == {
        "ACCOUNT_DIRECTORY_URL",
        "ACCOUNT_DIRECTORY_SECRET",
    }


@pytest.mark.parametrize("word", ["", "registry", "none"])
def test_a_url_that_nobody_would_ask_is_a_mistake(word):
    assert mistakes(ACCOUNT_DIRECTORY=word) == {"ACCOUNT_DIRECTORY"}


def test_only_a_private_host_is_asked_in_the_clear():
    """T23"""
    url = "http://Main-App:8080/accounts"
    assert mistakes(ACCOUNT_DIRECTORY_URL=url) == {"ACCOUNT_DIRECTORY_URL"}
    assert mistakes(ACCOUNT_DIRECTORY_URL=url, ACCOUNT_DIRECTORY_PRIVATE_HOSTS="app") == {"ACCOUNT_DIRECTORY_URL"}
    assert read(ACCOUNT_DIRECTORY_URL=url, ACCOUNT_DIRECTORY_PRIVATE_HOSTS="main-app").account_directory_url == url


@pytest.mark.parametrize(
    "url",
    [
        "gopher://app.example.com/",
        "file:///etc/passwd",
        "ftp://app.example.com/",
        "https://",
        "https://user:password@app.example.com/",
        "https://app.example.com/#part",
        "https://app.example.com:0/",
        "https://app.example.com:65536/",
        "https://app.example.com/\r\nX: y",
        "https://app.example.com/\u00e4",
        "app.example.com",
    ],
)
def test_what_is_no_url_of_a_call_is_a_mistake(url):
    """T23"""
    assert mistakes(ACCOUNT_DIRECTORY_URL=url) == {"ACCOUNT_DIRECTORY_URL"}


@pytest.mark.parametrize("secret", ["short", "k" * 31, "whsec_", "whsec_" + "A" * 28, "whsec_no base64 " + "A" * 32])
def test_a_secret_that_could_be_guessed_is_a_mistake(secret):
    assert mistakes(ACCOUNT_DIRECTORY_SECRET=secret) == {"ACCOUNT_DIRECTORY_SECRET"}


def test_a_secret_may_be_a_key_in_base64_or_come_from_a_file(tmp_path):
    assert read(ACCOUNT_DIRECTORY_SECRET="whsec_" + "A" * 32).account_directory_secret == "whsec_" + "A" * 32
    (tmp_path / "secret").write_text(SECRET + "\n")
    changes = {"ACCOUNT_DIRECTORY_SECRET": "", "ACCOUNT_DIRECTORY_SECRET_FILE": str(tmp_path / "secret")}
    assert read(**changes).account_directory_secret == SECRET


def test_neither_the_secret_nor_the_path_is_shown():
    """T27"""
    assert SECRET not in repr(read())
    assert "internal" not in repr(read())
