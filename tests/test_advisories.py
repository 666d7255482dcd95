"""No known fault of a comparable system is forgotten: a test names each, or it is said why none of ours could."""

import pytest

from tests import advisories


@pytest.mark.parametrize("name", sorted(advisories.ALL | advisories.ELSEWHERE.keys()))
def test_a_test_names_the_fault_or_it_is_said_why_it_is_none_here(name):
    assert advisories.find_gap(name, advisories.named(), advisories.ELSEWHERE) == ""


@pytest.mark.parametrize(
    ("named", "elsewhere", "gap"),
    [
        ({"CVE-1"}, {}, ""),
        (set(), {"CVE-1": "There are no webhooks here; with them, it would have to be tried."}, ""),
        (set(), {}, "no test names it"),
        (set(), {"CVE-1": "not applicable"}, "the reason"),
        ({"CVE-1"}, {"CVE-1": "There are no webhooks here; with them, it would have to be tried."}, "a test names it"),
    ],
)
def test_a_fault_that_is_forgotten_would_be_noticed(named, elsewhere, gap):
    found = advisories.find_gap("CVE-1", frozenset(named), elsewhere)
    assert found.startswith(gap)
    assert bool(found) is bool(gap)


@pytest.mark.parametrize(
    ("text", "name", "is_named"),
    [
        ("T6: CVE-2026-1299, and more", "CVE-2026-1299", True),
        ("CVE-2026-12991", "CVE-2026-1299", False),
        ("kratos #6521", "kratos #652", False),
        ("allauth 65.3.0 headless: `MAX_ATTEMPTS`", "allauth 65.3.0", False),
        ("allauth 65.3.0 headless: `MAX_ATTEMPTS`", "allauth 65.3.0 headless", True),
        ("supabase\n    discussion #33745", "supabase discussion #33745", True),
    ],
)
def test_a_name_is_found_as_a_whole_only(text, name, is_named):
    assert advisories.says(text, name) is is_named
