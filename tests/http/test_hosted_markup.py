"""What the hosted pages look like: they load nothing, everybody can read them, and what was typed stays text."""

import base64
import hashlib
import re
import shutil

import pytest

from email_service.hosted_pages.drawing import Pages
from email_service.kernel.errors import SettingsError
from email_service.rendering.colors import contrast
from email_service.settings import resource
from tests.hosted import CODE, HOSTILE, MAIL, VERIFICATION, Document, call_all
from tests.strangers import Stranger

FOLDER = resource("templates") / "pages"
POLICY = (
    r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@pytest.fixture
def stranger(house) -> Stranger:
    return Stranger(house)


def test_every_page_has_the_headers_and_loads_nothing(house):
    """T10"""
    for response in call_all(house):
        policy = response.headers["Content-Security-Policy"]
        assert re.fullmatch(POLICY, policy)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert (response.headers["Vary"], response.headers["Content-Language"]) == ("Accept-Language", "en")
        assert "Set-Cookie" not in response.headers
        document = Document(response.text)
        assert {tag for tag, _ in document.elements} & {"script", "img", "link", "iframe", "object", "base"} == set()
        assert re.findall(r"(?i)https?:|//|url\(|@import| on\w+=| style=", response.text) == []
        for attributes in [attributes for _, attributes in document.elements]:
            for name in {"href", "action", "src"} & attributes.keys():
                assert attributes[name].startswith("/pages/")


def test_the_policy_lets_the_one_style_in(stranger):
    """T10"""
    response = stranger.request("GET", CODE)
    [style] = re.findall(r"(?s)<style>(.*?)</style>", response.text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in response.headers["Content-Security-Policy"]


def test_every_page_can_be_read_by_everybody(house):
    for response in call_all(house):
        document = Document(response.text)
        assert document.all("html") == [{"lang": "en", "dir": "ltr"}]
        assert [len(document.all(tag)) for tag in ("h1", "title", "main")] == [1, 1, 1]
        ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        labelled = {each["for"] for each in document.all("label")}
        for field in document.all("input"):
            assert field.get("type") == "hidden" or field["id"] in labelled
            assert set((field.get("aria-describedby") or "").split()) <= set(ids)
            assert field["name"] != "email" or field["autocomplete"] == "email"
            assert field["name"] != "code" or (field["autocomplete"], field["inputmode"]) == (
                "one-time-code",
                "numeric",
            )
        is_wrong = any("aria-invalid" in field for field in document.all("input"))
        assert is_wrong == ("<title>Error: " in response.text) == ('class="error"' in response.text)


def test_colours_are_told_apart_in_the_light_and_in_the_dark():
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for the edges of fields and the focus (1.4.11)."""
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in (FOLDER / "style.css").read_text().split("@media")
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for text in ("ink", "quiet", "accent", "wrong"):
            assert contrast(scheme[text], scheme["surface"]) >= 4.5
        assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5
        assert contrast(scheme["edge"], scheme["surface"]) >= 3


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", VERIFICATION, {"token": HOSTILE}),
        ("POST", VERIFICATION, {"token": HOSTILE}),
        ("POST", CODE, {"email": HOSTILE, "code": HOSTILE}),
        ("POST", MAIL, {"email": HOSTILE}),
    ],
)
def test_what_somebody_wrote_stays_text(stranger, method, path, fields):
    """T18"""
    sent = {"query_string": fields} if method == "GET" else {"data": fields}
    document = Document(stranger.request(method, path, **sent).text)
    assert document.all("script") == []
    echoed = {each.get("value") for each in document.all("input")} - {None, ""}
    assert echoed <= {HOSTILE}


def test_a_product_is_named_and_its_help_offered(reopen):
    named = Stranger(reopen(BRAND_NAME="Acme & Söhne", SUPPORT_EMAIL="help@acme.example"))
    text = named.request("GET", f"{VERIFICATION}?token=a").text
    assert "Acme &amp; Söhne" in text
    assert 'href="mailto:help@acme.example"' in text


def test_another_locale_is_another_file(house, tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "pages")
    words = (folder / "en.toml").read_text()
    (folder / "eo.toml").write_text(words.replace("Enter your code", "Enigu vian kodon"))
    pages = Pages(folder, "Acme", None)
    for wanted, locale, heading in (
        ("eo, en;q=0.8", "eo", "Enigu vian kodon"),
        ("tlh", "en", "Enter your code"),
    ):
        with house.app.test_request_context(headers={"Accept-Language": wanted}):
            text = pages.draw("code").get_data(as_text=True)
        assert f'<html lang="{locale}" dir="ltr">' in text
        assert f"<h1>{heading}</h1>" in text
    for wrong, complaint in (
        (words.replace("again = ", "more = "), r"code\.again, code\.more"),
        (words.replace('"ltr"', '"up"'), r"eo\.toml: shared\.direction"),
        ("[", r"eo\.toml cannot be read"),
    ):
        (folder / "eo.toml").write_text(wrong)
        with pytest.raises(SettingsError, match=complaint):
            Pages(folder, "Acme", None)
