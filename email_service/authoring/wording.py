"""What readers and filters dislike about words: a subject that is cut, shouting, the phrases that junk mail is made of.

Knows plain text. The phrases are English, as most junk mail is.
"""

import re
from collections.abc import Iterator

from email_service.authoring.findings import Place, Told

# An inbox shows about 70 on a desk and 40 in a hand; names of people and brands take a part that no author can shorten.
SUBJECT_CHARACTERS = 90

_SHOUTED_LETTERS = 8
_PHRASES = (
    "100% free",
    "act now",
    "apply now",
    "as seen on",
    "buy now",
    "cash bonus",
    "click below",
    "click here",
    "dear friend",
    "double your",
    "earn money",
    "extra cash",
    "for free",
    "free gift",
    "free trial",
    "guaranteed",
    "increase your",
    "limited time",
    "lowest price",
    "make money",
    "no credit card",
    "no obligation",
    "once in a lifetime",
    "order now",
    "risk-free",
    "special promotion",
    "this is not spam",
    "urgent",
    "while supplies last",
    "you are a winner",
    "you have been selected",
)
_SPAM = re.compile(rf"\b(?:{'|'.join(map(re.escape, _PHRASES))})\b|[!?]{{2,}}|[$\u20ac\u00a3]{{2,}}", re.IGNORECASE)


def check_subject(place: Place, subject: str) -> Iterator[Told]:
    """What is wrong with the line that an inbox shows."""
    if len(subject) > SUBJECT_CHARACTERS:
        message = f"the subject {subject!r} has {len(subject)} characters"
        advice = f"Inboxes cut it: keep it to {SUBJECT_CHARACTERS}, and begin with what it is about."
        yield Told(place, message, advice, is_error=False)
    letters = [each for each in subject if each.isalpha()]
    if len(letters) >= _SHOUTED_LETTERS and all(each.isupper() for each in letters):
        advice = "Filters take it for shouting: write it as a sentence."
        yield Told(place, f"the subject {subject!r} is in capitals", advice, is_error=False)


def find_spam(place: Place, words: str) -> Iterator[Told]:
    """The phrases that filters count against a mail, each once."""
    for phrase in dict.fromkeys(found.lower() for found in _SPAM.findall(words)):
        message = f"{phrase!r} is what junk mail says"
        yield Told(place, message, "Filters count it against a mail: say it in another way.", is_error=False)
