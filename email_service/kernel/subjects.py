"""What a subject looks like: the main app's own id of whoever an account, a token or a session is of.

The one rule for all of them, whichever way a subject comes in. What stands in it means nothing here.
"""

import re

LONGEST = 255
# Published in OpenAPI, so it has to mean the same in ECMA 262, where `$` alone is enough: here it would let a last line
# break pass. What can be seen is left open, for that changes with each version of Unicode.
PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)"
_FORM = re.compile(PATTERN)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # no database stores it; a body that holds one is refused as a whole


def is_subject(text: str) -> bool:
    """Whether this can be somebody's id."""
    is_whole = _HALF_CHARACTER.search(text) is None
    return 0 < len(text) <= LONGEST and _FORM.match(text) is not None and is_whole
