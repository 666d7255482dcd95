"""Every template in every locale before a reader's eyes: axe-core in both themes, and no width scrolls sideways."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser

from tests.gallery import BANNER, BRAND, PIECES, THEMES, WIDTHS, Piece
from tests.mail_viewer import Viewer, viewing

FIRST = PIECES[0].locale
# Two in which all kinds of text stand on the brand's colours or beside them.
COLOURFUL = (Piece("password-reset", FIRST), Piece("receipt", FIRST))
# Dark, light, both and neither: greys on which neither white nor a dark ink is far off the limit.
COLOURS = ("#000000", "#ffffff", "#fbbf24", "#10b981", "#808080", "#777777", "#e11d48")


@pytest.fixture(scope="module")
def viewer(browser: Browser) -> Iterator[Viewer]:
    with viewing(browser, BRAND.logo_url) as opened:
        yield opened


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_axe_finds_nothing(viewer, piece, theme):
    """WCAG 2.2 AA"""
    viewer.show(piece.render().html, theme=theme)
    assert viewer.judge() == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("color", COLOURS)
def test_any_brand_can_be_read(viewer, color, theme):
    """WCAG 2.2, 1.4.3; where there is no logo, the brand's name stands on its gradient."""
    for piece in COLOURFUL:
        for end in (color, BANNER.color_end):
            viewer.show(piece.render(brand=replace(BANNER, color=color, color_end=end)).html, theme=theme)
            assert viewer.judge() == []


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_nothing_scrolls_sideways_and_nothing_is_fetched(viewer, piece):
    """WCAG 2.2, 1.4.10; T22"""
    for variables in (piece.template.sample_variables, piece.widest_variables()):
        piece.template.check_variables(variables)
        viewer.show(piece.render(variables).html)
        for width in WIDTHS:
            viewer.resize(width)
            assert viewer.measure() == width
    assert viewer.asked == []


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ('lang="en"', "", "html-has-lang"),
        ('alt="Acme"', "", "image-alt"),
        ("</h1>", '</h1><p style="color: #ccc; background: #fff">Pale</p>', "color-contrast"),
        ("</h1>", '</h1><p style="color: #777; background: linear-gradient(#fff, #555)">Pale</p>', "color-contrast"),
        ("</h1>", '</h1><a href="https://acme.example/"></a>', "link-name"),
        ("<h1", '<p role="decoration">a</p><h1', "aria-roles"),
    ],
)
def test_what_cannot_be_read_is_noticed(viewer, right, wrong, rule):
    page = COLOURFUL[0].render().html
    assert right in page
    viewer.show(page.replace(right, wrong))
    assert rule in {found for found, *_ in viewer.judge()}


def test_what_scrolls_sideways_or_fetches_is_noticed(viewer):
    viewer.show('<p style="width: 330px">a</p><img alt="" src="https://tracker.example/pixel">', width=320)
    asked, viewer.asked = viewer.asked, []
    assert viewer.measure() > 320
    assert asked == ["https://tracker.example/pixel"]
