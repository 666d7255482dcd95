"""A mail in its light and its dark theme, where nobody can ask a mail program to change: the media queries are decided.

Knows html as text and the feature `prefers-color-scheme`; knows no template.
"""

import re
from enum import StrEnum


class Theme(StrEnum):
    """What a reader's mail program prefers."""

    LIGHT = "light"
    DARK = "dark"


_STYLE = re.compile(r"(<style\b[^>]*>)(.*?)(</style>)", re.IGNORECASE | re.DOTALL)
_FEATURE = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)", re.IGNORECASE)
_SCHEME = re.compile(r"""(<meta\s+name=["'](?:supported-)?color-schemes?["']\s+content=["'])[^"']*""", re.IGNORECASE)
_RULES = re.compile(r"@media([^{}]*)\{((?:[^{}]*\{[^{}]*\})*)\s*\}")
# Features that are always so and never so.
_ALWAYS, _NEVER = "(min-width: 0)", "(max-width: 0)"


def show(html: str, theme: Theme) -> str:
    """The page as it looks in this theme, whatever the browser that shows it prefers."""

    def decide(style: re.Match[str]) -> str:
        rules = _FEATURE.sub(lambda found: _ALWAYS if found[1].lower() == theme else _NEVER, style[2])
        return f"{style[1]}{rules}{style[3]}"

    return _SCHEME.sub(rf"\g<1>{theme}", _STYLE.sub(decide, html))


def find_rules(html: str, theme: Theme) -> str:
    """The rules that hold in this theme and not in the other, without the media query around them."""
    styles = "\n".join(style[2] for style in _STYLE.finditer(html))
    found = (rules for query, rules in _RULES.findall(styles) if theme in map(str.lower, _FEATURE.findall(query)))
    return "\n".join(found)
