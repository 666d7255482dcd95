"""Many small pictures on one: a page with a caption under each, taken as one WebP. Knows no template."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from playwright.sync_api import Browser

QUALITY = 82  # of 100; letters stay sharp, and the picture is a tenth of what PNG makes of it
_STYLE = """
body { margin: 0; padding: 28px 28px 8px; background: #e2e6ec; font: 500 13px/18px Roboto, sans-serif; color: #374151 }
main { display: flex; flex-wrap: wrap; gap: 28px 24px; align-items: flex-start }
figure { margin: 0 0 8px } figcaption { padding: 8px 2px 0; unicode-bidi: plaintext }
div { display: flex; gap: 8px; align-items: flex-start }
span { display: block; max-height: 640px; overflow: hidden; border-radius: 6px; box-shadow: 0 1px 3px #11182733 }
img { display: block }
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """Pictures of one thing, side by side, each with the width that it is drawn in."""

    caption: str
    pictures: tuple[tuple[bytes, int], ...]  # PNG

    def __str__(self) -> str:
        shown = "".join(
            f'<span><img alt="" width="{width}" src="data:image/png;base64,{base64.b64encode(png).decode()}"></span>'
            for png, width in self.pictures
        )
        return f"<figure><div>{shown}</div><figcaption>{escape(self.caption)}</figcaption></figure>"


def draw(browser: Browser, figures: Iterable[Figure], width: int) -> bytes:
    """One picture of all the figures in lines, twice as fine as `width` says."""
    context = browser.new_context(viewport={"width": width, "height": 100}, device_scale_factor=2)
    try:
        page = context.new_page()
        page.set_content(f"<!doctype html><style>{_STYLE}</style><main>{''.join(map(str, figures))}</main>")
        page.set_viewport_size({"width": width, "height": page.evaluate("() => document.documentElement.scrollHeight")})
        # Playwright itself writes PNG and JPEG only.
        devtools = context.new_cdp_session(page)
        taken = devtools.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
        return base64.b64decode(taken["data"])
    finally:
        context.close()
