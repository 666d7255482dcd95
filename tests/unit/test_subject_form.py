"""What can be somebody's id in the main app, wherever it comes in."""

import pytest

from email_service.kernel import subjects


@pytest.mark.parametrize(
    "text",
    ["u-1", "a/b", " ", "ä\u00a0b", "\u200d", "\u202e", "\U0001f469\u200d\U0001f680", "x" * 255, "\U0001f469" * 255],
)
def test_what_means_nothing_here_is_a_subject(text):
    assert subjects.is_subject(text)


@pytest.mark.parametrize(
    "text", ["", "a\0", "\tb", "a\nb", "a\n", "\x1f", "\x7f", "\x85", "a\x9f", "x" * 256, "\ud800"]
)
def test_what_cannot_be_kept_or_seen_in_a_line_is_none(text):
    assert not subjects.is_subject(text)
