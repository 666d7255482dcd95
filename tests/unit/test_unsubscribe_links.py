"""The links by which readers unsubscribe: only their maker makes them, they say nothing to others, and they last."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from email_service.kernel.crypto import SteadySealer
from email_service.kernel.errors import SealBrokenError, TokenInvalidError
from email_service.suppressions.links import Links, Reader

OLD, NEW = "an-old-secret-of-more-than-32-characters", "a-new-secret-of-more-than-32-characters"
PAGE = "https://mail.acme.example/pages/unsubscribe"
ADA = Reader("ada@example.com", "onboarding")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def token_of(reader: Reader = ADA, secret: str = NEW) -> str:
    return Links(PAGE, secret).write(reader).partition("?token=")[2]


def test_a_link_is_the_same_each_time_and_leads_back_to_its_reader(time_machine):
    """T33: a retry carries the same one, and it works years later."""
    link = Links(PAGE, NEW).write(ADA)
    time_machine.move_to(datetime(2040, 1, 1, tzinfo=UTC))
    assert Links(PAGE, NEW).write(ADA) == link
    assert re.fullmatch(re.escape(PAGE) + r"\?token=[A-Za-z0-9_-]+", link)
    assert Links(PAGE, NEW).read(link.partition("?token=")[2]) == ADA


def test_a_link_shows_neither_address_nor_category():
    """T27: not in base64 either."""
    octets = SteadySealer(NEW).seal("x", "c").encode() + token_of().encode()
    for part in ("ada", "example", "onboarding"):
        assert part not in token_of()
        assert part.encode() not in octets
    others = {token_of(each) for each in (Reader("eve@example.com", "onboarding"), Reader("ada@example.com", "news"))}
    assert len(others | {token_of()}) == 3


def test_every_other_character_is_refused():
    """T33: whichever one is changed, to whatever."""
    token, links = token_of(), Links(PAGE, NEW)
    for place, was in enumerate(token):
        for character in ALPHABET.replace(was, ""):
            with pytest.raises(TokenInvalidError):
                links.read(token[:place] + character + token[place + 1 :])


@example("")
@example("A")
@example("A" * 5)
@example("A" * 1001)
@example("é" * 60)
@example("\0")
@example(token_of() + "=")
@example(token_of() + "\n")
@example(token_of()[:-1])
@example(token_of() + "AAAA")
@example(" " + token_of())
@given(st.text(max_size=200))
def test_what_nobody_made_is_refused(token):
    """T33"""
    with pytest.raises(TokenInvalidError):
        Links(PAGE, NEW).read(token)


def test_an_earlier_key_still_reads_its_links_and_makes_no_new_ones():
    """F16"""
    rotated = Links(PAGE, NEW, [OLD])
    assert rotated.read(token_of(secret=OLD)) == ADA
    assert rotated.write(ADA) == Links(PAGE, NEW).write(ADA)
    with pytest.raises(TokenInvalidError):
        Links(PAGE, NEW).read(token_of(secret=OLD))


def test_what_was_sealed_for_something_else_is_refused():
    """T8"""
    sealer = SteadySealer(NEW)
    with pytest.raises(SealBrokenError):
        sealer.open(token_of(), "something-else")
    with pytest.raises(TokenInvalidError):
        Links(PAGE, NEW).read(sealer.seal("onboarding\nada@example.com", "something-else"))


@pytest.mark.parametrize("email", ["a" * 64 + "@" + "b" * 185 + ".com", "jörg@xn--bcher-kva.example", "o'neil+a@b.de"])
def test_any_address_fits_into_a_header(email):
    """RFC 5322 2.1.1"""
    reader = Reader(email, "x" * 50)
    link = Links(PAGE, NEW).write(reader)
    assert len(f"List-Unsubscribe: <{link}>") < 998
    assert Links(PAGE, NEW).read(link.partition("?token=")[2]) == reader
