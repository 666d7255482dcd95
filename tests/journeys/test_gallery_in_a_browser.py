"""An author's walk through the gallery, in a browser and beside an editor that saves."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from email_service.authoring import drafts
from tests.journeys.processes import House, Process, free_port, wait_until

NOTED = "the server responded with a status of"
FAULTS = """() => {
  const faults = [];
  const seen = new Set();
  for (const each of document.querySelectorAll('[id]')) {
    if (seen.has(each.id)) faults.push(`twice: ${each.id}`);
    seen.add(each.id);
  }
  for (const each of document.querySelectorAll('input, select, textarea')) {
    if (!each.labels || !each.labels.length) faults.push(`no label: ${each.outerHTML}`);
  }
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
  return faults;
}"""


class Gallery:
    """A running gallery and its own folder of templates."""

    def __init__(self, house: House, process: Process, url: str) -> None:
        self.own = house.folder / "own"
        self.house = house
        self.process = process
        self.url = url

    def write(self, path: str, content: str) -> None:
        (self.own / path).parent.mkdir(parents=True, exist_ok=True)
        (self.own / path).write_text(content)


def serve(installation: House) -> Gallery:
    drafts.write(installation.folder / "own", "order-shipped")
    port = free_port()
    process = installation.start("template", "serve", "--port", str(port))
    wait_until(lambda: "gallery at" in process.log())
    return Gallery(installation, process, f"http://127.0.0.1:{port}")


@pytest.fixture
def gallery(house) -> Gallery:
    return serve(house(TEMPLATES_DIR="own", BRAND_NAME="Acme", FRONTEND_URL="https://app.example.com"))


@pytest.fixture
def page(browser: Browser, house: object) -> Iterator[Page]:
    """A page that is closed before the gallery is, and that nothing went wrong on."""
    context = browser.new_context(viewport={"width": 1440, "height": 950}, locale="en-GB")
    found = context.new_page()
    complaints: list[str] = []
    # A refused preview is told on the page; the browser notes its status beside that.
    context.on("console", lambda told: complaints.append(told.text) if NOTED not in told.text else None)
    context.on("weberror", lambda told: complaints.append(str(told.error)))
    yield found
    context.close()
    assert complaints == []


def open_template(page: Page, gallery: Gallery, query: str = "template=order-shipped") -> None:
    page.goto(f"{gallery.url}/?{query}")
    expect(page.locator("#live")).to_have_text("Live: reloads when you save")


def test_an_author_looks_at_a_template_from_all_sides(page, gallery):
    open_template(page, gallery)
    mail = page.frame_locator("#frame")
    expect(page.locator("#subject")).to_have_text("Your order A-1042 is on its way")
    expect(page.locator("#preheader")).to_have_text("We have just handed it over. Here is how to follow it.")
    expect(mail.locator("h1")).to_have_text("Your order is on its way")
    expect(page.locator("#text")).to_contain_text("It should reach you by December 21, 2026.")
    expect(page.locator("#source")).to_contain_text('<h1 class="heading"')
    expect(page.locator("#findings")).to_contain_text("There are no words for ar", ignore_case=True)
    page.get_by_label("Dark").check()
    expect(mail.locator("table.card")).to_have_css("background-color", "rgb(26, 30, 36)")
    page.get_by_label("Light").check()
    expect(mail.locator("table.card")).to_have_css("background-color", "rgb(255, 255, 255)")
    for width in (320, 1024):
        page.get_by_label(str(width)).check()
        expect(page.locator("#page-facts")).to_contain_text(f"{width} px")
        assert page.locator("#frame").evaluate("each => each.clientWidth") == width
    page.get_by_label("Required only").check()
    expect(page.locator("#text")).not_to_contain_text("It should reach you by")
    page.get_by_role("link", name="password-reset").click()
    page.get_by_label("Language").select_option("ar")
    expect(mail.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("#findings")).to_contain_text("Nothing to change")
    page.reload()
    expect(page.get_by_label("Language")).to_have_value("ar")
    expect(page.locator("#name")).to_have_text("password-reset")


def test_variables_of_ones_own_are_shown_and_mistakes_in_them_told(page, gallery):
    open_template(page, gallery)
    page.get_by_label("Your own").check()
    place = page.get_by_label("Variables as JSON")
    expect(place).to_have_value(re.compile(r'^{\n  "name": "Ada"'))
    place.fill('{"order_number": "Z-9", "action_url": "https://app.example.com/z"}')
    expect(page.locator("#subject")).to_have_text("Your order Z-9 is on its way")
    place.fill('{"order_number": "Z-9"')
    expect(page.get_by_role("alert")).to_contain_text("The variables are no JSON")


def test_what_is_saved_is_shown_without_a_hand_on_the_browser(page, gallery):
    open_template(page, gallery)
    expect(page.locator("#subject")).to_have_text("Your order A-1042 is on its way")
    gallery.write("order-shipped/subject.txt", "Saved {{ order_number }}")
    expect(page.locator("#subject")).to_have_text("Saved A-1042")
    gallery.write("order-shipped/body.txt", "{{ order_numbr }}")
    expect(page.locator("#findings")).to_contain_text("Write 'order_number', if that is meant.")
    expect(page.locator("#findings code").first).to_have_text("own/order-shipped/body.txt:1")


def test_a_manifest_that_is_broken_meanwhile_is_told_and_the_page_recovers(page, gallery):
    open_template(page, gallery)
    manifest = (gallery.own / "order-shipped" / "manifest.toml").read_text()
    gallery.write("order-shipped/manifest.toml", "[broken")
    expect(page.locator("#problems")).to_contain_text("own/order-shipped/manifest.toml")
    gallery.write("order-shipped/manifest.toml", manifest)
    expect(page.locator("#problems")).to_be_hidden()
    expect(page.locator("#subject")).to_have_text("Your order A-1042 is on its way")
    gallery.write(
        "_words/de.toml", (gallery.own / "_words" / "en.toml").read_text().replace("Your order", "Bestellung")
    )
    expect(page.get_by_label("Language").locator("option")).to_have_count(2)


def test_an_author_gets_the_mail_through_the_mail_server(page, house, serve_mail):
    server = serve_mail()
    way = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(server.address[1])}
    gallery = serve(house(TEMPLATES_DIR="own", MAIL_DEFAULT_SENDER="Acme <mail@acme.example>", **way))
    open_template(page, gallery)
    send_to(page, "ada@example.com")
    expect(page.locator("#answer")).to_contain_text("On its way to ada@example.com")
    (received,) = server.messages
    assert received.rcpt_to == ["ada@example.com"]
    mail = message_from_bytes(received.content, policy=default)
    assert isinstance(mail, EmailMessage)
    assert mail["Subject"] == "Your order A-1042 is on its way"
    assert mail["From"] == "Acme <mail@acme.example>"
    part = mail.get_body(("html",))
    assert part is not None
    assert "Your order is on its way" in part.get_content()


def test_without_a_mail_server_the_mail_is_in_the_inbox(page, gallery):
    assert gallery.house.command("migrate").returncode == 0
    open_template(page, gallery, "template=welcome")
    send_to(page, "ada@example.com")
    expect(page.locator("#answer")).to_have_text("On its way to ada@example.com: Captured, not sent.")
    web = gallery.house.serve()
    found = requests.get(f"{web.url}/inbox/messages?to=ada@example.com", timeout=30).json()["data"]
    assert [each["subject"] for each in found] == ["Welcome to Acme, Ada"]


def send_to(page: Page, address: str) -> None:
    page.get_by_role("button", name="Send to me").click()
    page.get_by_label("Your address").fill(address)
    page.get_by_role("button", name="Send", exact=True).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_the_page_is_sound_at_any_width_and_in_both_themes(browser, gallery, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    open_template(page, gallery, "template=welcome&case=own")
    expect(page.locator("#findings")).to_contain_text("Nothing to change")
    assert page.evaluate(FAULTS) == []
    context.close()


def test_the_gallery_listens_to_this_machine_alone_and_says_what_to_do_when_its_port_is_taken(gallery):
    """T17: over the wire, as a browser that was rebound would ask."""
    port = gallery.url.rpartition(":")[2]
    refused = requests.get(gallery.url, headers={"Host": f"evil.example:{port}"}, timeout=30)
    assert refused.status_code == 421
    listening = Path(f"/proc/{gallery.process.popen.pid}/net/tcp").read_text()
    places = {line.split()[1] for line in listening.splitlines()[1:]}
    assert f"0100007F:{int(port):04X}" in places
    assert f"00000000:{int(port):04X}" not in places
    second = gallery.house.command("template", "serve", "--port", port)
    assert second.returncode == 1
    assert f"choose another with --port {int(port) + 1}" in second.stderr
    assert gallery.process.terminate() in {0, -15}
