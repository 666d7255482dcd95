"""The hosted pages in a real browser: from a mail in the inbox to a confirmed address, by hand, eye and keyboard."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests
from playwright.sync_api import Browser, expect

from email_service.hosted_pages import wording
from email_service.settings import resource
from tests.hosted import CHANGE, CODE, MAIL, VERIFICATION
from tests.journeys.processes import House, Web, free_port
from tests.journeys.visits import EXPECTED, FIND_FAULTS, Visit, says, visiting

BRAND = "Acme"
WORDS = wording.load(resource("templates") / "pages", BRAND)
ADDRESS = "email-verification"
SCANNERS = ("SafeLinks", "GoogleImageProxy", "Barracuda")
PLENTY = {
    "PUBLIC_RATE_LIMIT": "100000/minute",
    "PUBLIC_REDEEM_FAILURE_LIMIT": "10000/minute",
    "PUBLIC_ISSUE_LIMIT_PER_IP": "10000/hour",
}


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> Iterator[Web]:
    port = free_port()
    settings = {**PLENTY, "PUBLIC_URL": f"http://127.0.0.1:{port}", "BRAND_NAME": BRAND}
    with House(tmp_path_factory.mktemp("pages"), {**settings, "SUPPORT_EMAIL": "help@acme.example"}) as house:
        yield house.serve(port=port)


@pytest.fixture
def visit(browser: Browser, web: Web) -> Iterator[Callable[..., Visit]]:
    """A reader with these options of a browser."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(visiting(browser, web, options))


def ask(web: Web, name: str) -> tuple[str, str, str]:
    """An account that asked to verify its address: the address, its mail's link and the code."""
    email = f"{name}@example.com"
    put = web.call("PUT", f"/v1/accounts/{name}", json={"email": email})
    assert put.ok, put.text
    wish_for_mail(web, email)
    return (email, *read_mail(web, email))


def wish_for_mail(web: Web, email: str) -> None:
    wish = {"purpose": "email_verification", "email": email}
    assert requests.post(f"{web.url}/public/v1/tokens", json=wish, timeout=30).status_code == 202


def read_mail(web: Web, email: str, count: int = 1) -> tuple[str, str]:
    """Link and code of the newest mail, once there are so many."""
    for _ in range(20):
        found = requests.get(f"{web.url}/inbox/messages?to={email}&wait_seconds=1", timeout=30).json()["data"]
        if len(found) >= count:
            break
    newest = max(found, key=lambda mail: mail["created_at"])
    return re.search(r"http://\S+/pages/\S+", newest["text"])[0], re.search(r"(?m)^\s*(\d{6})\s*$", newest["text"])[1]


def is_consumed(web: Web, subject: str) -> bool:
    audit = web.get(f"/v1/audit?subject={subject}")["data"]
    return "token.consumed" in {each["name"] for each in audit}


@pytest.mark.parametrize("locale", ["en", "de", "ar"])
def test_a_reader_goes_from_the_inbox_to_a_confirmed_address(web, visit, locale):
    """T9, T10"""
    words, reader = WORDS[locale], visit(locale=locale)
    email, link, _ = ask(web, f"reader-{locale}")
    inbox = reader.open(f"/inbox?to={email}")
    inbox.locator("#mails a").click()
    with reader.context.expect_page() as opened:
        inbox.get_by_role("main").get_by_role("link", name=link).click()
    page = opened.value
    expect(page.locator("html")).to_have_attribute("dir", "rtl" if locale == "ar" else "ltr")
    expect(page.locator("html")).to_have_attribute("lang", locale)
    says(page, words["confirm"][ADDRESS]["heading"])
    page.get_by_role("button", name=words["confirm"][ADDRESS]["button"]).click()
    says(page, words["confirmed"][ADDRESS]["heading"])
    page.goto(link)
    page.get_by_role("button").click()
    says(page, words["gone"]["heading"])
    expect(page.get_by_text(words["gone"]["errors"]["token_used"])).to_be_visible()
    assert [each for each in reader.complaints if not each.startswith(EXPECTED)] == []
    assert reader.origins() == {web.url}
    assert [each for each in reader.referers() if "token=" in each or "/pages/" in each] == []


@pytest.mark.parametrize("locale", ["en", "de", "ar"])
def test_whoever_comes_with_an_old_link_gets_another_mail_and_types_its_code(web, visit, locale):
    """T10"""
    words, reader = WORDS[locale], visit(locale=locale)
    email, link, _ = ask(web, f"late-{locale}")
    wish_for_mail(web, email)
    read_mail(web, email, 2)  # which takes the place of the first
    page = reader.page
    page.goto(link)
    page.get_by_role("button").click()
    says(page, words["gone"]["heading"])
    page.get_by_label(words["shared"]["email"]).fill(email)
    page.get_by_role("button", name=words["gone"]["button"]).click()
    says(page, words["asked"]["heading"])
    page.get_by_role("link", name=words["asked"]["code"]).click()
    page.get_by_label(words["shared"]["email"]).fill(email)
    page.get_by_label(words["code"]["label"], exact=True).fill(read_mail(web, email, 3)[1])
    page.get_by_role("button", name=words["code"]["button"]).click()
    says(page, words["confirmed"][ADDRESS]["heading"])
    assert [each for each in reader.complaints if not each.startswith(EXPECTED)] == []
    assert (reader.origins(), reader.referers()) == ({web.url}, [])


def test_a_reader_needs_no_mouse(web, visit):
    """WCAG 2.2, 2.1.1 and 2.4.7."""
    words, reader = WORDS["en"], visit()
    email, link, code = ask(web, "keyboard")
    page = reader.page
    page.goto(link)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button")).to_be_focused()
    assert page.get_by_role("button").evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    says(page, words["confirmed"][ADDRESS]["heading"])
    reader.open(CODE)
    for typed in (email, code):
        page.keyboard.press("Tab")
        page.keyboard.type(typed)
    page.keyboard.press("Enter")
    says(page, words["code"]["heading"])
    expect(page.get_by_label(words["code"]["label"], exact=True)).to_have_attribute("aria-invalid", "true")
    assert page.title().startswith(f"{words['shared']['error']}: ")
    page.get_by_role("link", name=words["code"]["again"]).focus()
    page.keyboard.press("Enter")
    says(page, words["mail"]["heading"])


def test_whoever_only_opens_a_link_redeems_nothing(web, visit):
    """T9: neither mail scanners nor a browser that runs scripts and goes wherever a page sends it."""
    _, link, _ = ask(web, "scanned")
    for agent in SCANNERS:
        for method in ("GET", "HEAD") * 5:
            answer = requests.request(method, link, headers={"User-Agent": agent}, timeout=30)
            assert answer.status_code == 200
    scanner = visit(java_script_enabled=True, user_agent="SafeLinks")
    for _ in range(5):
        scanner.page.goto(link, wait_until="networkidle")
    assert ({each.method for each in scanner.asked}, scanner.complaints) == ({"GET"}, [])
    assert not is_consumed(web, "scanned")
    scanner.page.get_by_role("button").click()
    says(scanner.page, WORDS["en"]["confirmed"][ADDRESS]["heading"])
    assert is_consumed(web, "scanned")


def test_nothing_of_a_page_reaches_another_site_or_stays_behind(web, visit):
    """T10: not even by a link that leaves it."""
    reader = visit()
    _, link, _ = ask(web, "private")
    page = reader.page
    answer = page.goto(link)
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    with page.expect_request("**/healthz") as left:
        page.evaluate("() => { location.href = '/healthz' }")
    assert "referer" not in left.value.all_headers()
    page.wait_for_url("**/healthz")
    page.goto(link)
    page.get_by_role("button").click()
    says(page, WORDS["en"]["confirmed"][ADDRESS]["heading"])
    assert (reader.context.cookies(), reader.referers(), reader.origins()) == ([], [], {web.url})
    blocked = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
            document.body.appendChild(new Image()).src = 'http://127.0.0.2:9/pixel';
        })"""
    )
    assert blocked == "img-src"


@pytest.mark.parametrize("locale", WORDS)
def test_every_page_can_be_read_on_a_small_screen_in_the_light_and_in_the_dark(visit, locale):
    """WCAG 2.2 AA"""
    reader = visit(locale=locale, viewport={"width": 320, "height": 640})
    page, words, seen = reader.page, WORDS[locale], set()

    def look() -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(FIND_FAULTS) == [], (page.url, scheme)
        assert page.locator("html").get_attribute("lang") == locale
        seen.add(page.get_by_role("heading", level=1).inner_text())

    for path in ("/", f"{CHANGE}?token=a", f"{VERIFICATION}?token=a", "/pages/magic-link", CODE, MAIL):
        reader.open(path)
        look()
    page.get_by_label(words["shared"]["email"]).fill("nobody")
    page.get_by_role("button").click()
    expect(page.get_by_text(words["mail"]["errors"]["email"])).to_be_visible()
    look()
    page.get_by_label(words["shared"]["email"]).fill(f"nobody-{locale}@example.com")
    page.get_by_role("button").click()
    says(page, words["asked"]["heading"])
    look()
    reader.open(CODE).get_by_role("button").click()
    expect(page.get_by_text(words["code"]["errors"]["email"])).to_be_visible()
    look()
    reader.open(f"{VERIFICATION}?token=a").get_by_role("button").click()
    says(page, words["gone"]["heading"])
    look()
    assert len(seen) == 8
    assert [each for each in reader.complaints if not each.startswith(EXPECTED)] == []
