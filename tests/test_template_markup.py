"""The html of every template in every locale, as html-validate reads it and as Outlook does."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests import node_programs
from tests.gallery import BRAND, PIECES, Piece

SPARSE = replace(BRAND, logo_url=None, support_email=None)
# What stands in such a comment is a part of the page in Outlook, and a comment everywhere else.
FOR_OUTLOOK = re.compile(r"<!--\[if [^\]!]*mso[^\]]*\]>(.*?)<!\[endif\]-->", re.DOTALL)
FOR_WORD = re.compile(r"<xml>.*?</xml>", re.DOTALL)  # its settings, which are no html
FOR_OTHERS = re.compile(r"<!--\[if !mso\]><!-->.*?<!--<!\[endif\]-->", re.DOTALL)


@pytest.fixture(scope="module")
def check() -> Iterator[Callable[[str], list[str]]]:
    """What the checker finds wrong with one page."""
    with node_programs.talking("check_html.js", "html-validate") as ask:
        yield lambda page: ask(json.dumps(page))


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_the_checker_finds_no_error(check, piece):
    assert check(piece.render().html) == []


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_the_checker_finds_no_error_in_what_outlook_sees_of_the_least_that_can_be_said(check, piece):
    page = piece.render(piece.least_variables(), SPARSE).html
    assert check(FOR_WORD.sub("", FOR_OUTLOOK.sub(r"\1", FOR_OTHERS.sub("", page)))) == []


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_what_only_outlook_knows_stands_where_only_outlook_looks(piece):
    """html-validate reads no styles, in which a property of Microsoft's is a mistake, and lets a `meta` say nothing."""
    page = FOR_OUTLOOK.sub("", piece.render().html)
    assert set(re.findall(r"\bmso-[\w-]+", page)) == set()
    assert [each for each in re.findall(r"<meta name[^>]*>", page) if "content=" not in each] == []


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("</h1>", "</h2>", "close-order"),
        ("<h1", "<div><h1", "close-order"),
        ("<p class", "<p><div>a</div></p><p class", "no-implicit-close"),
        ("<h1", "<li>a</li><h1", "element-permitted-parent"),
        ('alt="Acme"', "", "wcag/h37"),
        (' lang="en"', "", "element-required-attributes"),
        ("<h1", '<h1 align="center"', "no-deprecated-attr"),
        ('dir="ltr"', 'dir="up"', "attribute-allowed-values"),
        ("&nbsp;", "&nosuch;", "unrecognized-char-ref"),
    ],
)
def test_the_checker_notices_what_is_wrong(check, right, wrong, rule):
    page = Piece("password-reset", "en").render().html
    assert right in page
    assert f"({rule})" in " ".join(check(page.replace(right, wrong)))
