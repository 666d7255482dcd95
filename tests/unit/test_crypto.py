"""Sealed values open only whole, in their context and with a known key; tokens are unguessable; digests only match."""

import ast
import hmac
import math
import re
import statistics
import time
from base64 import urlsafe_b64decode
from collections import Counter
from hmac import compare_digest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_service.kernel.crypto import Blinder, Sealer, hash_secret, matches, random_token
from email_service.kernel.errors import SealBrokenError

PACKAGE = Path(__file__).resolve().parents[2] / "email_service"
OLD, NEW = "old secret, thirty-two characters", "new secret, thirty-two characters"
CONTEXT = "messages.variables:0190"


@given(st.binary(max_size=4096), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens_in_its_context(plain, context):
    sealer = Sealer(NEW)
    assert sealer.open(sealer.seal(plain, context), context) == plain


def test_another_process_with_the_same_secret_opens_it():
    assert Sealer(NEW).open(Sealer(NEW).seal(b"plain", CONTEXT), CONTEXT) == b"plain"


def test_a_sealed_value_shows_nothing_and_never_looks_the_same_twice():
    sealer = Sealer(NEW)
    sealed = {sealer.seal(b"plain text", CONTEXT) for _ in range(100)}
    assert len({each[5:17] for each in sealed}) == 100
    assert all(each[0] == 1 and len(each) == 1 + 4 + 12 + 10 + 16 and b"plain" not in each for each in sealed)


def test_a_value_moved_to_another_row_or_column_does_not_open():
    sealer = Sealer(NEW)
    sealed = sealer.seal(b"plain", CONTEXT)
    for context in ("messages.variables:0191", "messages.headers:0190", ""):
        with pytest.raises(SealBrokenError):
            sealer.open(sealed, context)


def test_a_change_of_any_byte_is_noticed():
    sealer = Sealer(NEW, [OLD])
    sealed = sealer.seal(b"plain", CONTEXT)
    for position in range(len(sealed)):
        for flipped in (0x01, 0x80):
            broken = bytearray(sealed)
            broken[position] ^= flipped
            with pytest.raises(SealBrokenError):
                sealer.open(bytes(broken), CONTEXT)


def test_a_value_that_was_cut_or_extended_does_not_open():
    sealer = Sealer(NEW)
    sealed = sealer.seal(b"plain", CONTEXT)
    for broken in (*(sealed[:length] for length in range(len(sealed))), sealed + b"\0"):
        with pytest.raises(SealBrokenError):
            sealer.open(broken, CONTEXT)


def test_an_earlier_secret_opens_its_values_and_seals_nothing_new():
    """F16"""
    earlier, rotated = Sealer(OLD).seal(b"plain", CONTEXT), Sealer(NEW, [OLD])
    assert rotated.open(earlier, CONTEXT) == b"plain"
    assert Sealer(NEW).open(rotated.seal(b"plain", CONTEXT), CONTEXT) == b"plain"
    with pytest.raises(SealBrokenError):
        Sealer(NEW).open(earlier, CONTEXT)


def test_the_current_secret_may_stand_among_the_earlier_ones():
    sealer = Sealer(NEW, [NEW, OLD])
    assert sealer.open(sealer.seal(b"plain", CONTEXT), CONTEXT) == b"plain"


def test_a_sealer_does_not_show_its_secret():
    """T27"""
    assert NEW not in repr(Sealer(NEW)) + str(vars(Sealer(NEW)))


def test_tokens_are_unique_and_every_byte_of_them_is_evenly_spread():
    """T1: chi-square of each byte with 255 degrees of freedom, p > 1e-6 for all 32 of them."""
    tokens = [random_token() for _ in range(100_000)]
    assert len(set(tokens)) == 100_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
    for column in zip(*(urlsafe_b64decode(token + "=") for token in tokens), strict=True):
        assert len(column) == 100_000
        counts = Counter(column)
        expected = len(column) / 256
        chi_square = sum((counts[value] - expected) ** 2 / expected for value in range(256))
        assert _chance_of_more(chi_square, 255) > 1e-6


def _chance_of_more(chi_square: float, freedom: int) -> float:
    # Wilson and Hilferty: the cube root of a chi-square is close to normal.
    spread = 2 / (9 * freedom)
    deviation = ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(deviation / math.sqrt(2)) / 2


def _guessable(tree: ast.AST) -> list[str]:
    """Names of sources of randomness that an attacker can predict, as this module imports or calls them."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in {"random", "numpy"}]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = {"random", "numpy"}
            found += [node.module] if node.module and node.module.split(".")[0] in modules else []
            found += [name.name for name in node.names if name.name in {"uuid1", "uuid4"}]
        elif isinstance(node, ast.Attribute) and node.attr in {"uuid1", "uuid4"}:
            found.append(node.attr)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import choice",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid4",
        "import numpy.random",
    ],
)
def test_the_search_for_guessable_randomness_finds_it(source):
    """T1"""
    assert _guessable(ast.parse(source))


def test_nothing_in_the_service_uses_guessable_randomness():
    """T1"""
    sources = sorted(PACKAGE.rglob("*.py"))
    assert sources
    found = {str(path): _guessable(ast.parse(path.read_text())) for path in sources}
    assert not {path: names for path, names in found.items() if names}


def test_a_digest_matches_its_secret_only():
    """T24"""
    secret = random_token()
    digest = hash_secret(secret)
    assert len(digest) == 32
    assert matches(secret, digest)
    for other in (random_token(), secret[:-1], secret + "A", secret.swapcase(), "", "é", "\ud800"):
        assert not matches(other, digest)
    for broken in (b"", digest[:-1], digest + b"\0", bytes(32)):
        assert not matches(secret, broken)


def test_secrets_are_compared_by_digests_in_constant_time(monkeypatch):
    """T24: what the clock cannot show within nanoseconds, the function that is called does."""
    compared = []

    def record(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return compare_digest(left, right)

    monkeypatch.setattr(hmac, "compare_digest", record)
    digest = hash_secret("right")
    assert matches("right", digest)
    assert not matches("wrong", digest)
    assert compared == [(digest, digest), (hash_secret("wrong"), digest)]


def test_the_time_of_a_comparison_does_not_tell_how_much_agrees():
    """T24: digests that agree in the first 0, 16 and 31 bytes."""
    secret = random_token()
    digest = hash_secret(secret)
    others = {agreed: digest[:agreed] + bytes(byte ^ 0xFF for byte in digest[agreed:]) for agreed in (0, 16, 31)}
    spans: dict[int, list[int]] = {agreed: [] for agreed in others}
    for _ in range(5000):
        for agreed, other in others.items():
            started = time.perf_counter_ns()
            matches(secret, other)
            spans[agreed].append(time.perf_counter_ns() - started)
    middles = [statistics.median(each) for each in spans.values()]
    assert max(middles) - min(middles) < 0.1 * min(middles)


def test_a_blinded_name_is_the_same_each_time_and_shows_nothing():
    """T27"""
    name = Blinder(NEW).blind("ada@example.com")
    assert re.fullmatch(r"[0-9a-f]{64}", name)
    assert name == Blinder(NEW).blind("ada@example.com")
    others = {Blinder(OLD).blind("ada@example.com"), Blinder(NEW).blind("ada@example.co"), Blinder(NEW).blind("\ud800")}
    assert name not in others
    assert len(others) == 3
