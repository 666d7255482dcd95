"""The documentation as a site: built without a warning, with links that lead somewhere, and nothing from elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import documents
import pytest
from axe_playwright_python.sync_playwright import Axe
from error_codes import error_codes

from email_service.settings import Settings
from email_service.settings.variables import Variable
from tests.stand_ins import ROOT

SIZES = {"desktop": (1440, 1000), "phone": (375, 812)}
SEEN = ["index.html", "password-reset.html", "reference/settings.html", "reference/errors.html", "migrating.html"]
# The theme's menu is a landmark inside of one with the same name; that is for the theme to mend.
AXE = {"rules": {"landmark-unique": {"enabled": False}}}
LOADED = {"src", "srcset", "poster", "data"}  # what a browser fetches without being asked


class Document(HTMLParser):
    """Where a page links to, what it loads, and which places on it can be linked to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LOADED or (tag == "link" and name == "href"):
                self.loads.append(value or "")
            elif tag == "a" and name == "href":
                self.links.append(value or "")
            elif name in {"id", "name"} and value:
                self.anchors.add(value)


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """`make docs`, into another folder."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--config-file",
            source / "mkdocs.yml",
            "--site-dir",
            site,
        ],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Document]:
    paths = sorted(site.rglob("*.html"))
    return {path.relative_to(site).as_posix(): Document(path.read_text(encoding="utf-8")) for path in paths}


def dead_links(site: Path, pages: dict[str, Document]) -> Iterator[str]:
    for name, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or name == "404.html":
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{name} links to {link}, which is not there"
            elif parts.fragment and parts.fragment not in {
                *pages[target.resolve().relative_to(site).as_posix()].anchors
            }:
                yield f"{name} links to {link}, where nothing has that name"


def foreign(pages: dict[str, Document]) -> Iterator[str]:
    for name, page in pages.items():
        yield from (f"{name} loads {link}" for link in page.loads if urlsplit(link).netloc)


def test_every_link_leads_to_a_page_and_a_place(site, pages):
    assert len(pages) > 40
    assert list(dead_links(site.resolve(), pages)) == []


def test_no_page_and_no_style_loads_anything_from_another_host(site, pages):
    assert list(foreign(pages)) == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_a_dead_link_and_a_foreign_script_are_noticed(site, pages):
    broken = Document(
        '<a href="nowhere.html"><a href="#nowhere"><a href="api.html#errors"><script src="//cdn.example/x.js">'
    )
    complaints = list(dead_links(site.resolve(), {**pages, "index.html": broken}))
    assert [complaint.rpartition(", ")[2] for complaint in complaints] == [
        "which is not there",
        "where nothing has that name",
    ]
    assert list(foreign({"broken.html": broken})) == ["broken.html loads //cdn.example/x.js"]


def test_a_link_that_is_broken_on_purpose_ends_the_build(tmp_path):
    for name in ("docs", "website", "examples", "clients", "deploy", "email_service", "tests/http"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.webp"))
    for name in ("mkdocs.yml", ".env.example", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "concepts.md").open("a", encoding="utf-8") as page:
        page.write("\nSee [this](nowhere.md) and [that](api.md#nowhere).\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert "nowhere.md" in built.stderr
    assert "#nowhere" in built.stderr


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_reads_well_in_a_browser(theme, size, browser, address):
    """Nothing comes from another host, nothing fails, nothing scrolls sideways, and axe-core has no complaint."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page, requested, said = context.new_page(), [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for name in SEEN:
        page.goto(address + name)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = Axe().run(page, options=AXE)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    context.close()
    assert [url for url in requested if not url.startswith((address, "data:"))] == []
    assert said == []


def test_the_path_of_a_message_is_read_on_a_phone_without_scrolling(browser, address):
    width, height = SIZES["phone"]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(address + "index.html")
    frame = page.locator(".diagram", has=page.get_by_role("img", name="The path of a message"))
    assert frame.evaluate("frame => frame.scrollWidth <= frame.clientWidth")
    scale = frame.locator("svg").evaluate("drawing => drawing.getScreenCTM().a")
    assert 14 * scale >= 12
    inside = """drawing => [...drawing.querySelectorAll('text')].every(text => {
        const [words, sheet] = [text.getBoundingClientRect(), drawing.getBoundingClientRect()];
        return words.left >= sheet.left && words.right <= sheet.right;
    })"""
    assert frame.locator("svg").evaluate(inside)
    page.close()


def test_the_search_finds_a_setting(browser, address):
    page = browser.new_page()
    page.goto(address + "index.html")
    page.get_by_role("textbox", name="Search").click()
    page.get_by_role("textbox", name="Search").type("MAIL_RETRY_DELAYS")
    page.wait_for_selector(".md-search-result__link[href*='reference/settings.html']")
    page.close()


def test_what_is_made_from_the_code_is_all_there(pages):
    declared = {each.name for each in fields(Settings) if isinstance(each.metadata.get("variable"), Variable)}
    assert declared - pages["reference/settings.html"].anchors == set()
    assert error_codes().keys() - pages["reference/errors.html"].anchors == set()
    described = json.loads((ROOT / "tests/http/openapi.json").read_text())["paths"].items()
    headings = [f"# {method} {path}" for path, calls in described for method in calls if method != "parameters"]
    assert documents.anchors("\n".join(headings)) - pages["reference/calls.html"].anchors == set()
    decisions = {path.with_suffix(".html").name for path in (ROOT / "docs/adr").glob("0*.md")}
    assert decisions <= set(pages["adr/index.html"].links)
