"""`make screenshots`: every template in every language, width and theme, as a browser draws it.

Writes one picture of each into docs/templates/<locale>/, not committed, and a few sheets of them beside it, which are.
It ends with an error when a mail has to be scrolled sideways or asks for more than its logo.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser

from tests import chromium, contact_sheet
from tests.contact_sheet import Figure
from tests.gallery import BANNER, BRAND, CATALOG, LOCALES, PIECES, THEMES, WIDTHS, Piece
from tests.mail_viewer import Viewer, viewing

FOLDER = Path(__file__).parents[1] / "docs" / "templates"
EXAMPLE = "password-reset"  # of what languages and widths do to a mail
DESKTOP, SHEET = 600, 1440  # px: what most programs show a mail in, and what the sheets have


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locale", action="append", choices=LOCALES, help="only these, and no sheets; may be repeated")
    chosen = parser.parse_args(arguments).locale
    program = chromium.find()
    if program is None:
        print("There is no Chromium: run `make browser`, or name one with TEST_CHROMIUM.", file=sys.stderr)
        return 1
    pieces = [piece for piece in PIECES if not chosen or piece.locale in chosen]
    with chromium.running(program) as browser:
        with viewing(browser, BRAND.logo_url) as viewer:
            mistakes = [mistake for piece in _with_progress(pieces) for mistake in _take(viewer, piece)]
            mistakes += [f"asked for {url}" for url in viewer.asked]
        if not chosen:
            _write_sheets(browser)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return bool(mistakes)


def _with_progress(pieces: Sequence[Piece]) -> Iterator[Piece]:
    for number, piece in enumerate(pieces, 1):
        line = f"{number} of {len(pieces)}: {piece}"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="\n" if number == len(pieces) else "", file=sys.stderr, flush=True)
        elif number % len(CATALOG) == 0:
            print(line, file=sys.stderr, flush=True)
        yield piece


def _take(viewer: Viewer, piece: Piece) -> Iterator[str]:
    """Write the pictures of one template in one language, and tell what is wrong with them."""
    _path(piece, WIDTHS[0], THEMES[0]).parent.mkdir(parents=True, exist_ok=True)
    viewer.show(piece.render(brand=BANNER).html)
    for width in WIDTHS:
        viewer.resize(width)
        if (needed := viewer.measure()) > width:
            yield f"{piece} scrolls sideways at {width} px: it needs {needed}"
        for theme in THEMES:
            viewer.dress(theme)
            viewer.page.screenshot(path=_path(piece, width, theme), full_page=True)


def _path(piece: Piece, width: int, theme: str) -> Path:
    return FOLDER / piece.locale / f"{piece.name}-{width}-{theme}.png"


def _figure(caption: str, pieces: Sequence[tuple[Piece, int, str]], scale: float) -> Figure:
    pictures = [(_path(piece, width, theme).read_bytes(), round(width * scale)) for piece, width, theme in pieces]
    return Figure(caption, tuple(pictures))


def _write_sheets(browser: Browser) -> None:
    """All templates at a glance, all in both themes, one of them in all languages, and one in all widths."""
    base, *_ = LOCALES
    names, turns = CATALOG.names(), itertools.cycle(THEMES)
    sheets = {
        "overview": [_figure(name, [(Piece(name, base), DESKTOP, next(turns))], 0.29) for name in names],
        "templates": [_figure(name, [(Piece(name, base), DESKTOP, theme) for theme in THEMES], 0.36) for name in names],
        "languages": [_figure(locale, [(Piece(EXAMPLE, locale), DESKTOP, next(turns))], 0.53) for locale in LOCALES],
        "widths": [
            _figure(f"{width} px", [(Piece(EXAMPLE, base), width, theme) for theme in THEMES], 0.33) for width in WIDTHS
        ],
    }
    for name, figures in sheets.items():
        (FOLDER / f"{name}.webp").write_bytes(contact_sheet.draw(browser, figures, SHEET))


if __name__ == "__main__":
    sys.exit(main())
