"""A mail in one theme, and whether its words can be read there."""

import pytest

from email_service.authoring import page_rules
from email_service.authoring.themes import Theme, find_rules, show

DARK = "@media (prefers-color-scheme: dark) { .page { background-color: #000000 !important; } %s }"
PAGE = (
    '<!doctype html><html><head><meta name="color-scheme" content="light dark"><title>x</title>'
    '<style data-css-inline="keep">@media (max-width: 9px) {{ .x {{ color: red }} }} {dark}</style></head>'
    '<body class="page"><p class="line" style="{style}">words</p></body></html>'
)


def page(style: str = "", dark: str = "") -> str:
    return PAGE.format(style=style, dark=DARK % dark)


def contrasts(html: str, css: str = "") -> list[str]:
    return [told.message for told in page_rules.check_page(html, css) if "contrast" in told.message]


def test_a_page_is_shown_in_one_theme_whatever_the_browser_prefers():
    light, dark = (show(page(), theme) for theme in Theme)
    assert "@media (max-width: 0) { .page" in light
    assert "@media (min-width: 0) { .page" in dark
    assert '<meta name="color-scheme" content="dark">' in dark
    assert "prefers-color-scheme" not in light + dark
    assert "@media (max-width: 9px)" in dark


def test_words_of_the_mail_about_themes_are_left_alone():
    html = page().replace("words", "(prefers-color-scheme: dark)")
    assert "(prefers-color-scheme: dark)</p>" in show(html, Theme.DARK)


def test_the_rules_of_a_theme_are_those_inside_its_query():
    found = find_rules(page(dark=".y { color: #fff }"), Theme.DARK)
    assert " ".join(found.split()) == ".page { background-color: #000000 !important; } .y { color: #fff }"
    assert find_rules(page(), Theme.LIGHT) == ""


WHITE_LINE = ".line { color: #fff !important; }"


def faint(ink: str, ground: str, ratio: float, theme: str) -> str:
    return f"'words' in {ink} on {ground} has a contrast of {ratio} in the {theme} theme"


@pytest.mark.parametrize(
    ("style", "dark", "told"),
    [
        ("", WHITE_LINE, []),
        ("", "", [faint("#000000", "#000000", 1.0, "dark")]),
        ("color: #999", WHITE_LINE, [faint("#999999", "#ffffff", 2.8, "light")]),
        ("color: #999; font-size: 24px", WHITE_LINE, [faint("#999999", "#ffffff", 2.8, "light")]),
        ("color: #8a8a8a; font-size: 24px", WHITE_LINE, []),
        ("color: #8a8a8a; font-size: 14pt; font-weight: bold", WHITE_LINE, []),
        ("color: rgb(255, 255, 255); background: #123456", "", []),
        (
            "color: white; background-image: linear-gradient(90deg, #000, #eee)",
            "",
            [faint("#ffffff", "#eeeeee", 1.2, theme) for theme in Theme],
        ),
        ("color: white; display: none", "", []),
        ("color: white; font-size: 1px; background-color: #fff", "", []),
        ("color: var(--brand); background-color: #fff", "", []),
    ],
)
def test_words_have_to_be_read_in_both_themes(style, dark, told):
    assert contrasts(page(style, dark)) == told


def test_styles_of_the_sheet_and_of_those_around_count():
    html = page(dark=".line { color: #fff !important; }")
    assert contrasts(html, ".line { color: #cccccc; }") == [
        "'words' in #cccccc on #ffffff has a contrast of 1.6 in the light theme"
    ]
    assert contrasts(html.replace('class="page"', 'class="page" bgcolor="#222222"'), ".line { color: #cccccc; }") == []


def test_a_link_without_a_colour_is_blue():
    html = page(dark=".line { color: #fff !important; }").replace("words", '<a href="https://a.example/">go</a>')
    assert contrasts(html) == ["'go' in #0000ee on #000000 has a contrast of 2.2 in the dark theme"]


@pytest.mark.parametrize(
    ("html", "preheader"),
    [
        ('<body><div style="color: red; display: none">Soon\u200c\u00a0\u034f</div><p>Hello</p></body>', "Soon"),
        ("<body><p>Hello <b>you</b></p></body>", "Hello you"),
        ("", ""),
    ],
)
def test_an_inbox_shows_the_hidden_words_or_the_first_ones(html, preheader):
    assert page_rules.find_preheader(html) == preheader
