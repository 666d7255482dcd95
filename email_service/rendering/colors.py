"""Which colours can be read on which (WCAG 2.2), so that a brand of any colour sends mail that anybody can read.

Knows colours as `#rrggbb` only; knows no brand and no template.
"""

READABLE = 4.5  # 1.4.3, for text
READABLE_LARGE = 3.0  # the same, for large text such as the name in a header
COMFORTABLE = 7.0  # 1.4.6
WHITE, INK, BLACK = "#ffffff", "#111827", "#000000"
NIGHT = "#1a1e24"  # what a mail's card is drawn on in dark mode, as in the layout


def contrast(one: str, other: str) -> float:
    """The contrast ratio, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def find_ink(*grounds: str) -> str:
    """White or ink, whichever reads better on the worst of these grounds; black where a single one needs it."""
    best = max(WHITE, INK, key=lambda ink: min(contrast(ink, ground) for ground in grounds))
    if min(contrast(best, ground) for ground in grounds) >= READABLE:
        return best
    return max(best, BLACK, key=lambda ink: min(contrast(ink, ground) for ground in grounds))


def lighten(color: str, ground: str) -> str:
    """The colour, with as much white in it as it takes to be read with ease on this dark ground."""
    mixes = (_mix(color, WHITE, percent) for percent in range(0, 100, 5))
    return next((mixed for mixed in mixes if contrast(mixed, ground) >= COMFORTABLE), WHITE)


def _mix(color: str, other: str, percent: int) -> str:
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * percent / 100):02x}" for one, two in pairs)


def _channels(color: str) -> list[int]:
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def _luminance(color: str) -> float:
    parts = (each / 255 for each in _channels(color))
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)  # noqa: PLR2004 - the constants of the standard
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
