"""From a mail to no more of its kind, in a real browser and by a mail program, and back again."""

import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import expect

from email_service.hosted_pages import wording
from email_service.settings import resource
from tests.journeys.processes import House, Web, free_port, wait_until
from tests.journeys.visits import EXPECTED, FIND_FAULTS, Visit, says, visiting
from tests.news import ONE_CLICK

BRAND = "Acme"
WORDS = wording.load(resource("templates") / "pages", BRAND)
RESET = {"template": "password-reset", "variables": {"action_url": "https://app.example.com/reset?token=a"}}


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> Iterator[Web]:
    port = free_port()
    settings = {"PUBLIC_RATE_LIMIT": "100000/minute", "PUBLIC_URL": f"http://127.0.0.1:{port}", "BRAND_NAME": BRAND}
    with House(tmp_path_factory.mktemp("unsubscribing"), settings) as house:
        yield house.serve(port=port)


@pytest.fixture
def reader(browser, web) -> Iterator[Visit]:
    with visiting(browser, web, {}) as found:
        yield found


def send(web: Web, email: str, **body: object) -> str:
    """The status that the message was accepted with."""
    message = {"template": "welcome", "variables": {"name": "Ada"}, **body, "to": email}
    answer = web.call("POST", "/v1/messages", json=message)
    assert answer.status_code == 202, answer.text
    return answer.json()["status"]


def link_of(web: Web, email: str) -> str:
    """What the header of the reader's mail says, as it was sent."""
    assert send(web, email) == "queued"
    [mail] = wait_until(lambda: web.call("GET", f"/inbox/messages?to={email}&wait_seconds=5").json()["data"])
    source = web.call("GET", f"/inbox/messages/{mail['id']}/source").text
    return re.search(r"(?m)^List-Unsubscribe: <(\S+)>\r?$", source)[1]


def test_a_reader_unsubscribes_looks_at_what_is_left_and_takes_it_back(web, reader):
    """T33, T10"""
    words, email = WORDS["en"], "by-hand@example.com"
    page, link = reader.page, link_of(web, email)
    for _ in range(3):
        answer = page.goto(link, wait_until="networkidle")
        assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    says(page, words["unsubscribe"]["heading"])
    assert send(web, email) == "queued"
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=words["unsubscribe"]["button"])).to_be_focused()
    page.keyboard.press("Enter")
    says(page, words["unsubscribed"]["heading"])
    assert [send(web, email), send(web, email, **RESET)] == ["suppressed", "queued"]
    page.get_by_role("link", name=words["unsubscribed"]["choose"]).click()
    says(page, words["preferences"]["heading"])
    box = page.get_by_role("checkbox", name=words["shared"]["categories"]["onboarding"])
    expect(box).not_to_be_checked()
    box.check()
    page.get_by_role("button", name=words["preferences"]["button"], exact=True).click()
    expect(page.get_by_role("status")).to_have_text(words["preferences"]["saved"])
    expect(box).to_be_checked()
    assert send(web, email) == "queued"
    page.get_by_role("button", name=words["preferences"]["none"]).click()
    expect(box).not_to_be_checked()
    assert [send(web, email), send(web, email, **RESET)] == ["suppressed", "queued"]
    assert (reader.complaints, reader.context.cookies(), reader.referers()) == ([], [], [])
    assert reader.origins() == {web.url}


def test_a_mail_program_unsubscribes_with_one_request(web):
    """T33: RFC 8058 3.2, as form and as multipart; what scans mail before that changes nothing."""
    in_parts = {name: (None, value) for name, value in ONE_CLICK.items()}
    for number, body in enumerate(({"data": ONE_CLICK}, {"files": in_parts})):
        email = f"program-{number}@example.com"
        link = link_of(web, email)
        for method in ("GET", "HEAD") * 5:
            assert requests.request(method, link, headers={"User-Agent": "SafeLinks"}, timeout=30).status_code == 200
        assert send(web, email) == "queued"
        for _ in range(2):
            assert requests.post(link, **body, allow_redirects=False, timeout=30).status_code == 200
        assert [send(web, email), send(web, email, **RESET)] == ["suppressed", "queued"]


@pytest.mark.parametrize("locale", WORDS)
def test_every_page_can_be_read_on_a_small_screen_in_the_light_and_in_the_dark(browser, web, locale):
    """WCAG 2.2 AA"""
    link, words = link_of(web, f"{locale}@example.com".lower()), WORDS[locale]
    options = {"locale": locale, "viewport": {"width": 320, "height": 640}}
    with visiting(browser, web, options) as reader:
        page = reader.page

        def look(name: str) -> None:
            says(page, words[name]["heading"])
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert page.evaluate(FIND_FAULTS) == [], (page.url, scheme)
            assert page.locator("html").get_attribute("lang") == locale

        page.goto(link)
        look("unsubscribe")
        page.get_by_role("button").click()
        look("unsubscribed")
        page.get_by_role("link").click()
        look("preferences")
        page.get_by_role("button", name=words["preferences"]["none"]).click()
        expect(page.get_by_role("status")).to_be_visible()
        look("preferences")
        page.goto(f"{link}x")
        look("unknown")
    assert [each for each in reader.complaints if not each.startswith(EXPECTED)] == []
