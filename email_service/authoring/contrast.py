"""Whether every word of a mail can be read on what it stands on (WCAG 2.2, 1.4.3, AA), one theme at a time.

Knows pages whose styles are in their tags; takes a colour that it cannot read for one that it cannot judge.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from email_service.authoring.findings import Place
from email_service.authoring.page import Element, Page
from email_service.rendering import colors

_HEX = r"#(?:[0-9a-f]{6}|[0-9a-f]{3})\b"
_RGB = r"rgb\(\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\)"
_COLOR = re.compile(rf"{_HEX}|{_RGB}|\b(?:black|white)\b", re.IGNORECASE)
_NAMED = {"black": colors.BLACK, "white": colors.WHITE}
_LINK = "#0000ee"  # of a link that nobody gave a colour (HTML 15.3.1)
_LARGE_PIXELS, _LARGE_BOLD_PIXELS, _BOLD = 24.0, 18.66, 600  # 18 and 14 points
_USUAL_PIXELS = 16.0
_HEADING_PIXELS = {"h1": 32.0, "h2": 24.0, "h3": 18.72}
_INVISIBLE_PIXELS = 1.0
_UNITS = {"px": 1.0, "pt": 4 / 3, "em": _USUAL_PIXELS, "rem": _USUAL_PIXELS, "%": _USUAL_PIXELS / 100}
_SOLID, _GRADIENT = ("background-color", "background"), ("background-image", "background")


@dataclass(frozen=True, slots=True)
class Illegible:
    """Words that are too faint."""

    place: Place
    words: str
    ink: str
    ground: str
    ratio: float
    needed: float


def find_illegible(page: Page) -> Iterator[Illegible]:
    """Each element whose words are too faint on the worst of what is behind them."""
    styles = {id(each): _read_style(each) for each in page.elements}
    for element in page.elements:
        if not any(map(str.strip, element.words)) or element.tag in {"style", "title", "script"}:
            continue
        lineage = [(each, styles[id(each)]) for each in element.lineage]
        if any(_is_hidden(style) for _, style in lineage):
            continue
        ink, grounds = _find_ink(lineage), _find_grounds(lineage)
        if ink is None or not grounds:
            continue
        ground = min(grounds, key=lambda each: colors.contrast(ink, each))
        ratio, needed = colors.contrast(ink, ground), _find_needed(lineage)
        if ratio < needed:
            words = " ".join("".join(element.words).split())
            yield Illegible(element.place, words[:40], ink, ground, ratio, needed)


_Lineage = list[tuple[Element, dict[str, str]]]


def _read_style(element: Element) -> dict[str, str]:
    declared = (each.partition(":") for each in element.attributes.get("style", "").split(";"))
    return {name.strip().lower(): value.replace("!important", "").strip() for name, _, value in declared if value}


def _is_hidden(style: dict[str, str]) -> bool:
    return style.get("display") == "none" or style.get("visibility") == "hidden" or style.get("opacity") == "0"


def _find_ink(lineage: _Lineage) -> str | None:
    for element, style in lineage:
        if (written := style.get("color", "inherit")) != "inherit":
            return next(_colors_in(written), None)
        if element.tag == "font" and "color" in element.attributes:
            return next(_colors_in(element.attributes["color"]), None)
        if element.tag == "a" and "href" in element.attributes:
            return _LINK
    return colors.BLACK


def _find_grounds(lineage: _Lineage) -> list[str]:
    """The colours behind: of a gradient all, and what shows where it is not drawn; none where it cannot be told."""
    for element, style in lineage:
        solid = next((style[name] for name in _SOLID if name in style), element.attributes.get("bgcolor", ""))
        image = next((style[name] for name in _GRADIENT if name in style), "")
        if "url(" in image:
            image = ""  # most mail programs do not load it, so what is behind it has to do
        is_gradient = "gradient" in image
        if not is_gradient and solid in {"", "transparent", "inherit", "none"}:
            continue
        return [*_colors_in(solid), *(_colors_in(image) if is_gradient else ())]
    return [colors.WHITE]


def _find_needed(lineage: _Lineage) -> float:
    pixels = next((size for each in lineage if (size := _find_pixels(*each))), _USUAL_PIXELS)
    is_bold = next((bold for each in lineage if (bold := _find_boldness(*each)) is not None), False)
    if pixels <= _INVISIBLE_PIXELS:
        return 0.0  # a preheader that is hidden by its size
    is_large = pixels >= (_LARGE_BOLD_PIXELS if is_bold else _LARGE_PIXELS)
    return colors.READABLE_LARGE if is_large else colors.READABLE


def _find_pixels(element: Element, style: dict[str, str]) -> float | None:
    written = re.fullmatch(r"([\d.]+)(px|pt|em|rem|%)", style.get("font-size", ""))
    return float(written[1]) * _UNITS[written[2]] if written else _HEADING_PIXELS.get(element.tag)


def _find_boldness(element: Element, style: dict[str, str]) -> bool | None:
    written = style.get("font-weight", "")
    if written:
        return written in {"bold", "bolder"} or (written.isdigit() and int(written) >= _BOLD)
    return True if element.tag in {"b", "strong", "th", *_HEADING_PIXELS} else None


def _colors_in(written: str) -> Iterator[str]:
    for found in _COLOR.findall(written):
        color = found.lower()
        if color.startswith("rgb"):
            yield "#" + "".join(f"{min(int(each), 255):02x}" for each in re.findall(r"\d+", color))
        elif color.startswith("#"):
            digits = color[1:]
            yield "#" + (digits if len(digits) == len("rrggbb") else "".join(each * 2 for each in digits))
        else:
            yield _NAMED[color]
