"""Tokens and codes made from a nonce: always the same ones, evenly spread, and none to be read in the nonce."""

import base64
import re
import secrets
from collections import Counter

import pytest

from email_service.kernel.derivation import Deriver, code_place, token_place
from email_service.kernel.errors import SealBrokenError

OLD, NEW = "o" * 40, "n" * 40
DERIVER = Deriver(OLD)
# Beyond them chance goes once in a million runs: for all 32 octets (255 degrees of freedom), for both halves (999).
CHI_SQUARE_OF_BYTES, CHI_SQUARE_OF_THOUSANDS = 397.0, 1240.0


def octets(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=")


def chi_square(seen: Counter, cells: int) -> float:
    expected = seen.total() / cells
    return sum((seen[cell] - expected) ** 2 / expected for cell in range(cells))


def test_one_nonce_makes_the_same_token_and_code_each_time():
    """F1: a retry of a mail carries what the first try carried."""
    nonce = DERIVER.new_nonce()
    again = Deriver(OLD)
    assert again.token(nonce) == DERIVER.token(nonce)
    assert again.code(nonce) == DERIVER.code(nonce)
    assert again.hash_code(nonce, "123456") == DERIVER.hash_code(nonce, "123456")


def test_a_rotated_secret_still_makes_the_tokens_of_before():
    """F16"""
    nonce, rotated = DERIVER.new_nonce(), Deriver(NEW, [OLD])
    assert (rotated.token(nonce), rotated.code(nonce)) == (DERIVER.token(nonce), DERIVER.code(nonce))
    assert rotated.hash_code(nonce, "123456") == DERIVER.hash_code(nonce, "123456")
    fresh = rotated.new_nonce()
    assert Deriver(NEW).token(fresh) == rotated.token(fresh)
    with pytest.raises(SealBrokenError):
        DERIVER.token(fresh)


@pytest.mark.parametrize("make", [Deriver.token, Deriver.code, lambda it, nonce: it.hash_code(nonce, "123456")])
@pytest.mark.parametrize("nonce", [Deriver(NEW).new_nonce(), b"", b"\0" * 36], ids=["foreign", "empty", "zeros"])
def test_a_nonce_of_an_unknown_secret_makes_nothing(make, nonce):
    with pytest.raises(SealBrokenError):
        make(DERIVER, nonce)


def test_another_secret_makes_another_token_of_the_same_randomness():
    """T2: whoever has the database and not the key can make none."""
    nonce = DERIVER.new_nonce()
    moved = Deriver(NEW).new_nonce()[:4] + nonce[4:]
    assert Deriver(NEW).token(moved) != DERIVER.token(nonce)


def test_tokens_are_long_unique_and_evenly_spread():
    """T1"""
    tokens = [DERIVER.token(DERIVER.new_nonce()) for _ in range(10**5)]
    assert len(set(tokens)) == len(tokens)
    assert all(re.fullmatch("[A-Za-z0-9_-]{43}", token) for token in tokens)
    columns = zip(*map(octets, tokens), strict=True)
    assert max(chi_square(Counter(column), 256) for column in columns) < CHI_SQUARE_OF_BYTES


def test_what_is_not_spread_would_be_noticed():
    column = [secrets.randbelow(250) for _ in range(10**5)]
    assert chi_square(Counter(column), 256) > CHI_SQUARE_OF_BYTES


def test_chance_comes_from_nowhere_but_the_system(monkeypatch):
    """T1"""

    def refuse(*_args, **_more):
        raise AssertionError("chance of another source was asked for")

    for name in ("random", "getrandbits", "randint", "choice", "randbytes"):
        monkeypatch.setattr(f"random.{name}", refuse)
    assert DERIVER.token(DERIVER.new_nonce()) != DERIVER.token(DERIVER.new_nonce())


def test_codes_are_six_digits_and_evenly_spread():
    """T3"""
    codes = [DERIVER.code(DERIVER.new_nonce()) for _ in range(10**5)]
    assert all(re.fullmatch("[0-9]{6}", code) for code in codes)
    for part in (slice(0, 3), slice(3, 6)):
        seen = Counter(int(code[part]) for code in codes)
        assert chi_square(seen, 1000) < CHI_SQUARE_OF_THOUSANDS


def test_neither_token_nor_code_is_in_the_nonce_or_in_its_places():
    """T2"""
    for _ in range(100):
        nonce = DERIVER.new_nonce()
        token, code = DERIVER.token(nonce), DERIVER.code(nonce)
        for kept in (nonce, token_place(nonce).encode(), code_place(nonce).encode()):
            assert octets(token) not in kept
            assert token.encode() not in kept
        assert octets(token) != DERIVER.hash_code(nonce, code)


def test_a_code_is_hashed_under_the_pepper_and_the_nonce():
    """T3: the same code never has the same hash, and another secret hashes it otherwise."""
    first, second = DERIVER.new_nonce(), DERIVER.new_nonce()
    moved = Deriver(NEW).new_nonce()[:4] + first[4:]
    hashes = {
        DERIVER.hash_code(first, "123456"),
        DERIVER.hash_code(second, "123456"),
        DERIVER.hash_code(first, "123457"),
        Deriver(NEW).hash_code(moved, "123456"),
    }
    assert len(hashes) == 4
    assert {len(each) for each in hashes} == {32}


def test_places_are_filled_however_deep_they_lie_and_nothing_else_changes():
    nonce, other = DERIVER.new_nonce(), DERIVER.new_nonce()
    link = f"https://app.example.com/reset?token={token_place(nonce)}"
    given = {
        "action_url": link,
        "code": code_place(nonce),
        "deep": [{"links": [link, 7, None, True]}, code_place(other)],
        token_place(nonce): "a name is no place",
        "foreign": token_place(other),
        "minutes": 60,
    }
    token, code = DERIVER.token(nonce), DERIVER.code(nonce)
    filled = DERIVER.fill(given, nonce)
    there = f"https://app.example.com/reset?token={token}"
    assert filled == {
        **given,
        "action_url": there,
        "code": code,
        "deep": [{"links": [there, 7, None, True]}, code_place(other)],
    }
    assert given["action_url"] == link


def test_a_place_may_stand_in_a_url_and_in_the_variables_of_a_template():
    nonce = DERIVER.new_nonce()
    assert re.fullmatch("[A-Za-z0-9_-]{48}", token_place(nonce))
    assert re.fullmatch("[0-9a-f]{12}", code_place(nonce))
