"""A headless Chromium of this machine's own, driven by Playwright. Knows no page, and installs nothing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
EXPECT_MILLISECONDS = 30_000  # that a page comes to be as expected, however busy the machine is
# It runs as root in containers, and asks nobody but the pages under test.
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run")


def find() -> str | None:
    """The program: TEST_CHROMIUM, else the first of NAMES on the PATH; None when there is none."""
    return next(filter(None, map(shutil.which, [os.environ.get("TEST_CHROMIUM") or NAMES[0], *NAMES])), None)


@contextmanager
def running(program: str) -> Iterator[Browser]:
    expect.set_options(timeout=EXPECT_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()
