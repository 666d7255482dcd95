"""The example's pages in a browser that runs no script, from the first mail to a link that was used."""

import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys import example as examples
from tests.journeys.example import NEW_PASSWORD, PASSWORD, Example
from tests.journeys.processes import measured, wait_until

ADA = "ada@acme.example"
# What a browser says of every page that it got with a status of 400 or more.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    with examples.running(tmp_path_factory.mktemp("main-app")) as running:
        yield running


@dataclass
class Watched:
    """All that the pages of a browser asked for and complained of."""

    urls: list[str] = field(default_factory=list)
    referers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, browser: Browser) -> BrowserContext:
        """A browser of somebody's own, which runs no script."""
        context = browser.new_context(java_script_enabled=False)
        context.set_default_timeout(30_000)
        context.on("request", self._note)
        context.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        return context

    def hosts(self) -> set[str]:
        return {urlsplit(url).netloc for url in self.urls} - {""}

    def tokens(self) -> set[str]:
        return {url.partition("token=")[2] for url in self.urls if "token=" in url}

    def _note(self, request) -> None:
        self.urls.append(request.url)
        self.referers.append(request.headers.get("referer", ""))


def fill(page: Page, button: str, **fields: str) -> None:
    """Type into the fields by their labels, as a person would, and press the button."""
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(value)
    page.get_by_role("button", name=button).click()


def follow(example: Example, inbox: Page, subject: str, button: str, number: int = 1) -> Page:
    """Open the newest mail in the service's inbox, and press its button, which opens a page of its own."""
    example.link(ADA, subject, number)
    inbox.goto(f"{example.service.url}/inbox")
    inbox.get_by_role("link", name=re.compile(subject)).first.click()
    with inbox.context.expect_page() as opened:
        inbox.frame_locator("iframe").get_by_role("link", name=button).first.click()
    opened.value.wait_for_load_state()
    return opened.value


def scan(link: str) -> None:
    """T9: what scanners of mail do with a link."""
    for method in ["GET", "HEAD"] * 5:
        answer = requests.request(method, link, headers={"User-Agent": "SafeLinks"}, timeout=30)
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_a_person_walks_through_all_of_it(browser, example):
    """T9, T10, T32: scanners redeem nothing, no token travels on, and a reset signs nobody in."""
    began_at, watched = time.monotonic(), Watched()
    context = watched.open(browser)
    page, inbox = context.new_page(), context.new_page()

    page.goto(f"{example.url}/register")
    fill(page, "Create account", Your_name="Ada", Email_address=ADA, New_password=PASSWORD)
    expect(page.locator("h1")).to_contain_text("Look into your mail")
    scan(example.link(ADA, "Confirm"))
    confirming = follow(example, inbox, "Confirm", "Confirm")
    fill(confirming, "Confirm address", Password=PASSWORD)
    expect(confirming.get_by_role("status")).to_contain_text("Your address is confirmed")
    fill(confirming, "Sign in", Email_address=ADA, Password=PASSWORD)
    expect(confirming.locator("h1")).to_have_text("Hello, Ada")

    page.goto(f"{example.url}/forgot-password")
    fill(page, "Send the link", Email_address=ADA)
    link = example.link(ADA, "password")
    scan(link)
    resetting = follow(example, inbox, "password", "password")
    fill(resetting, "Change password", New_password=NEW_PASSWORD)
    expect(resetting.get_by_role("status")).to_contain_text("signed out everywhere")
    assert context.cookies(example.url) == []
    fill(resetting, "Sign in", Email_address=ADA, Password=NEW_PASSWORD)
    expect(resetting.locator("h1")).to_have_text("Hello, Ada")
    before = {cookie["name"]: cookie for cookie in context.cookies(example.url)}
    with resetting.expect_navigation():
        fill(resetting, "Stay signed in")
    after = {cookie["name"]: cookie for cookie in context.cookies(example.url)}
    expect(resetting.locator("h1")).to_have_text("Hello, Ada")
    assert before["refresh"]["value"] != after["refresh"]["value"]
    assert all(cookie["httpOnly"] and cookie["sameSite"] in {"Lax", "Strict"} for cookie in after.values())
    assert wait_until(lambda: example.mails(ADA, "was changed"))
    assert watched.complaints == []

    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("This link was used already")
    assert page.get_by_role("link", name="Ask for another link").is_visible()
    fill(resetting, "Sign out")
    expect(resetting.get_by_role("status")).to_contain_text("You are signed out")

    assert [each for each in watched.complaints if not REFUSED.match(each)] == []
    assert watched.hosts() == {urlsplit(url).netloc for url in (example.url, example.service.url)}
    served = (example.house.folder / "main_app.log").read_text()
    assert len(watched.tokens()) == 2
    assert not any(token in told for token in watched.tokens() for told in [*watched.referers, served])
    assert set(re.findall(r'referer="(.*?)"', served)) == {"-"}
    context.close()
    measured(f"all of it took {time.monotonic() - began_at:.1f} s")


@pytest.mark.parametrize("path", ["register", "login", "forgot-password", "resend-verification"])
def test_every_field_has_a_label_and_mistakes_are_told(browser, example, path):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{example.url}/{path}")
    fields = page.locator("input:not([type=hidden]):visible")
    ids = [field.get_attribute("id") for field in fields.all()]
    labels = [label.get_attribute("for") for label in page.locator("label").all()]
    assert ids == labels
    page.locator("form").first.evaluate("form => { form.noValidate = true; form.querySelector('button').click() }")
    page.wait_for_load_state()
    assert page.get_by_role("alert").inner_text()
    assert page.title().startswith("Error: ")
    assert page.locator("h1").count() == 1
    page.close()


def test_an_invited_person_follows_the_mail(browser, example):
    """T9: the page of an invitation redeems nothing until its form is sent."""
    assert example.flask("invite", ADA.replace("ada", "grace"), "--inviter", "Ada").returncode == 0
    link = example.link("grace@acme.example", "invited")
    scan(link)
    page = browser.new_page(java_script_enabled=False)
    page.goto(link)
    fill(page, "Create account", Your_name="Grace", New_password="grace@acme and more")
    expect(page.get_by_role("alert")).to_contain_text("must not contain")
    fill(page, "Create account", New_password=PASSWORD)
    expect(page.get_by_role("status")).to_contain_text("Your account is ready")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("used already")
    page.close()


def test_a_link_to_confirm_asks_for_the_password_and_says_when_it_is_spent(browser, example):
    email = "vera@acme.example"
    example.person().post("register", email=email, name="Vera", password=PASSWORD)
    link = example.link(email, "Confirm")
    page = browser.new_page(java_script_enabled=False)
    page.goto(link)
    assert email in page.inner_text("main")
    fill(page, "Confirm address", Password="not what was chosen")
    expect(page.get_by_role("alert")).to_contain_text("Nothing is confirmed")
    assert page.get_by_role("link", name="Choose a new password").is_visible()
    fill(page, "Confirm address", Password=PASSWORD)
    expect(page.get_by_role("status")).to_contain_text("Your address is confirmed")
    for address, sentence in [(link, "was used already"), (f"{example.url}/verify-email", "is not complete")]:
        page.goto(address)
        expect(page.get_by_role("alert")).to_contain_text(sentence)
        assert page.locator("form").count() == 0
    page.close()
