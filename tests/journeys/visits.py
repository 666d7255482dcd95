"""A reader's visit in a real browser: what it asked for and complained about, and what is wrong with what it shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.journeys.processes import Web

# A browser says so of every answer that is an error; our pages answer with one where something did not work.
EXPECTED = "Failed to load resource: the server responded with a status of 4"
# What WCAG 2.2 asks of everything that is seen: contrast (1.4.3), names (4.1.2), targets (2.5.8), reflow (1.4.10).
FIND_FAULTS = r"""() => {
  const light = text => {
    const [r, g, b] = text.match(/[\d.]+/g).slice(0, 3).map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (!color.endsWith(', 0)')) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const faults = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim()) continue;
    const [low, high] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${walker.currentNode.data}`);
    if (!element.closest('main')) faults.push(`outside of the landmark: ${walker.currentNode.data}`);
  }
  for (const each of document.querySelectorAll('input:not([type=hidden]), button')) {
    const name = each.labels && each.labels.length ? each.labels[0].innerText : each.innerText;
    if (!name.trim()) faults.push(`no name: ${each.outerHTML}`);
    if (each.getBoundingClientRect().height < 44) faults.push(`too small to hit: ${each.outerHTML}`);
    for (const id of (each.getAttribute('aria-describedby') || '').split(' ').filter(Boolean))
      if (!document.getElementById(id)) faults.push(`described by nothing: ${id}`);
  }
  if (document.querySelectorAll('h1').length !== 1) faults.push('not one heading');
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
  return faults;
}"""


@dataclass
class Visit:
    """One reader's browser, with all that it asked for and complained about."""

    web: Web
    context: BrowserContext
    page: Page
    asked: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.web.url + path)
        return self.page

    def note(self, request: Request) -> None:
        self.asked.append(request)

    def referers(self) -> list[str]:
        return [referer for each in self.asked if (referer := each.all_headers().get("referer"))]

    def origins(self) -> set[str]:
        return {f"{parts.scheme}://{parts.netloc}" for each in self.asked if (parts := urlsplit(each.url)).netloc}


@contextmanager
def visiting(browser: Browser, web: Web, options: dict[str, object]) -> Iterator[Visit]:
    context = browser.new_context(**{"locale": "en-GB", **options})
    found = Visit(web, context, context.new_page())
    context.on("request", found.note)
    context.on(
        "console", lambda told: found.complaints.append(told.text) if told.type in {"error", "warning"} else None
    )
    context.on("weberror", lambda told: found.complaints.append(str(told.error)))
    try:
        yield found
    finally:
        context.close()


def says(page: Page, heading: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
