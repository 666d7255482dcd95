"""Turns links between files of the repository into links between pages of the site.

Pages are written so that their links work in the repository. Knows paths and Markdown's links, and no page.
"""

import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def for_the_site(markdown: str, source: PurePosixPath, page: PurePosixPath, moved: Mapping[str, str]) -> str:
    """The Markdown of the file `source` for its place `page` on the site.

    A file below docs/ has the same path there without docs/, and any other one has the path that `moved` says. A link
    to anything else stays, so that a strict build names it.
    """

    def lead(found: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", found[2]):
            return found[0]
        meant = posixpath.normpath((source.parent / found[2]).as_posix())
        place = moved.get(meant) or (meant.removeprefix("docs/") if meant.startswith("docs/") else None)
        if place is None:
            return found[0]
        return f"{found[1]}{posixpath.relpath(place, page.parent)}{found[3]}"

    # Every other part is code, which has no links.
    parts = CODE.split(markdown)
    return "".join(part if index % 2 else LINK.sub(lead, part) for index, part in enumerate(parts))
