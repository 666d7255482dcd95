"""What may be wrong with the html that a template writes: tags, links, images, contrast in both themes.

Knows rendered pages and the rules; which template wrote them, and with which variables, is the caller's business.
"""

import re
from collections.abc import Iterator

from email_service.authoring.contrast import find_illegible
from email_service.authoring.findings import Place, Told
from email_service.authoring.page import Element, Page
from email_service.authoring.themes import Theme, find_rules
from email_service.rendering.style_sheet import StyleSheet

_ADDRESS = re.compile(r"(?:https?://[^/\s]|mailto:[^@\s]+@|tel:\+?\d|sms:\+?\d).*", re.IGNORECASE | re.DOTALL)
_SOURCE = re.compile(r"(?:https?://[^/\s]|cid:\S|data:image/).*", re.IGNORECASE | re.DOTALL)


def check_page(html: str, css: str | None) -> Iterator[Told]:
    """What is wrong with one page as the template writes it, before the styles are in its tags."""
    page = Page(html)
    if not html.lstrip().lower().startswith("<!doctype html>"):
        message = "the page does not begin with <!doctype html>"
        yield Told(Place(), message, "Begin with it, or extend _layout/layout.html.", is_error=False)
    for place, message in page.faults:
        yield Told(place, message, "Close each element inside the one that it was opened in.")
    for element in page.elements:
        yield from _check_element(element)
    for theme in Theme:
        # Rules of the theme are !important, as they have to be in mail: they win over the styles in the tags.
        rules = find_rules(html, theme)
        styled = Page(StyleSheet(f"{css or ''}\n{rules}").inline(html))
        for each in find_illegible(styled):
            message = (
                f"{each.words!r} in {each.ink} on {each.ground} has a contrast of {each.ratio:.1f} in the {theme} theme"
            )
            advice = f"At least {each.needed:g} is needed (WCAG AA): take a {_direction(each.ground)} ink."
            yield Told(each.place, message, advice)


def find_preheader(html: str) -> str:
    """What an inbox shows behind the subject: the words that are hidden on the page, else its first ones."""
    page = Page(html)
    hidden = (each for each in page.elements if "none" in each.attributes.get("style", "").partition("display:")[2][:6])
    preheader = next((text for each in hidden if (text := each.text())), "")
    body = next((each.text() for each in page.elements if each.tag == "body"), "")
    # Layouts fill the rest of the line with characters that show nothing.
    return re.sub(r"[\s\u00a0\u200b-\u200d\u034f\u2007\ufeff\u00ad]+", " ", preheader or body).strip()[:200]


def _check_element(element: Element) -> Iterator[Told]:
    if element.tag == "img":
        if "alt" not in element.attributes:
            yield Told(element.place, "an image has no alt", 'Say what it shows, or write alt="" where it only adorns.')
        source = element.attributes.get("src", "")
        if not _SOURCE.fullmatch(source):
            yield Told(element.place, f"no mail program can load the image {source!r}", "Write an https address.")
    if element.tag == "a" and "href" in element.attributes:
        href = element.attributes["href"].strip()
        if not _ADDRESS.fullmatch(href):
            yield Told(
                element.place, f"the link {href!r} leads nowhere", "Write an https address, a mailto: or a tel:."
            )
        if not _has_words(element):
            yield Told(element.place, f"the link to {href!r} has no words", "Say in it where it leads.")


def _has_words(element: Element) -> bool:
    images = (each for each in element.children if each.tag == "img")
    return (
        bool(element.text())
        or any(each.attributes.get("alt") for each in images)
        or any(_has_words(each) for each in element.children)
    )


def _direction(ground: str) -> str:
    is_dark = sum(int(ground[at : at + 2], 16) for at in (1, 3, 5)) < 3 * 128
    return "lighter" if is_dark else "darker"
