"""A browser's page that shows mail as a client does: in a theme and a width, with its logo and nothing else fetched.

Knows WCAG by way of axe-core, and no template: whoever shows a mail brings its html.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, Page, Route

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="128" height="40" viewBox="0 0 128 40">'
    '<path d="M20 4 36 36H27L20 21 13 36H4z" fill="#1f4fd8"/><circle cx="20" cy="33" r="3" fill="#1f4fd8"/>'
    '<text x="46" y="29" font-family="sans-serif" font-size="26" font-weight="700" fill="#1f4fd8">Acme</text></svg>'
)
HEIGHT = 800
# The client's page, in which a mail is shown, has its landmarks already; a second `main` would be one too many.
_RULES = {"region": {"enabled": False}, "landmark-one-main": {"enabled": False}}
_JUDGE = """async rules => {
  const results = await axe.run(document, { resultTypes: ['violations', 'incomplete'], rules });
  const told = each => each.nodes.map(node => [each.id, node.target.join(' '), node.failureSummary || '']);
  return { violations: results.violations.flatMap(told), incomplete: results.incomplete.flatMap(told) };
}"""
# The least contrast (WCAG 2.2, 1.4.3) of an element's text to what is behind it; axe-core leaves gradients to a person.
# Of large text 3 is asked instead of 4.5, so that it counts half as much again.
_CONTRAST = r"""selector => {
  const numbers = text => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(each => each / 255)
    .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const element = document.querySelector(selector);
  const grounds = place => {
    for (let each = place; each; each = each.parentElement) {
      const style = getComputedStyle(each);
      const stops = (style.backgroundImage.match(/rgba?\([^)]*\)/g) || []).map(numbers);
      if (stops.length) return stops.slice(1).flatMap((stop, at) => Array.from({ length: 21 }, (_, step) =>
        [0, 1, 2].map(channel => stops[at][channel] + (stop[channel] - stops[at][channel]) * step / 20)));
      if (!/, 0\)$|transparent/.test(style.backgroundColor)) return [numbers(style.backgroundColor)];
    }
    return [matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255]];
  };
  const { color, fontSize, fontWeight } = getComputedStyle(element);
  const ink = light(numbers(color));
  const isLarge = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24);
  return (isLarge ? 1.5 : 1) * Math.min(...grounds(element).map(light).map(ground =>
    (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)));
}"""


@dataclass
class Viewer:
    """One page, used again for each mail. `asked` is what the mails wanted from the network beside the logo."""

    page: Page
    logo_url: str
    asked: list[str] = field(default_factory=list)

    def show(self, html: str, width: int = 600, theme: str = "light") -> None:
        self.resize(width)
        self.dress(theme)
        self.page.set_content(html, wait_until="load")

    def resize(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": HEIGHT})

    def dress(self, theme: str) -> None:
        self.page.emulate_media(color_scheme=theme)

    def measure(self) -> int:
        """How wide the mail is; more than the page when it has to be scrolled sideways."""
        return self.page.evaluate("() => document.documentElement.scrollWidth")

    def judge(self) -> list[list[str]]:
        """What axe-core finds wrong: rule, place and advice. What it leaves open about contrast is worked out here."""
        found = self.page.evaluate(_JUDGE, _RULES)
        return found["violations"] + [each for each in found["incomplete"] if not self._is_readable(*each)]

    def _is_readable(self, rule: str, place: str, _advice: str) -> bool:
        return rule == "color-contrast" and self.page.evaluate(_CONTRAST, place) >= 4.5

    def answer(self, route: Route) -> None:
        if route.request.url == self.logo_url:
            route.fulfill(body=LOGO, content_type="image/svg+xml")
        else:
            self.asked.append(route.request.url)
            route.abort()


@contextmanager
def viewing(browser: Browser, logo_url: str, **options: Any) -> Iterator[Viewer]:
    """A viewer in a context of its own, with axe-core at hand."""
    context = browser.new_context(**options)
    viewer = Viewer(context.new_page(), logo_url)
    context.route("**/*", viewer.answer)
    # The page's window outlives what it shows, and axe-core with it.
    viewer.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    try:
        yield viewer
    finally:
        context.close()
