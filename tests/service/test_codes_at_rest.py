"""What somebody can do with the row of a code who does not have the key that no database has."""

import hashlib
import hmac
import time

import pytest
from sqlalchemy import select

from email_service.kernel.derivation import Deriver
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES
from tests.token_mail import ADA, issue, secrets_of

GUESSES = 10**6
MINUTE_SECONDS = 60
# RFC 7914, as `kernel/derivation` has it.
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 1024**2, "dklen": 32}


@pytest.mark.parametrize("purpose", [purpose for purpose, rule in RULES.items() if rule.has_code])
def test_a_row_without_the_pepper_recognises_not_even_the_right_code(house, client_id, purpose):
    """T3: so no number of guesses helps; a plain SHA-256 of address and code would fall in half a second."""
    code = secrets_of(house, issue(house, client_id, purpose, is_delivered=False))[1].encode()
    [(nonce, kept, token_hash)] = house.execute(select(Token.nonce, Token.code_hash, Token.token_hash))
    salts = [b"", nonce, nonce[4:], ADA.encode(), nonce + (token_hash or b"")]
    tried = [hashlib.sha256(salt + code).digest() for salt in salts]
    tried += [hashlib.sha256(code + salt).digest() for salt in salts]
    tried += [hmac.digest(salt, code, hashlib.sha256) for salt in salts]
    tried += [hashlib.scrypt(each, salt=nonce, **SCRYPT) for each in (code, *tried)]
    assert kept not in tried
    assert house.parts.get(Deriver).hash_code(nonce, code.decode()) == kept


def test_with_the_pepper_a_million_guesses_take_longer_than_a_minute(house):
    """T3: by the fastest of a few, so that a busy machine does not flatter us."""
    deriver = house.parts.get(Deriver)
    nonce, spans = deriver.new_nonce(), []
    for number in range(5):
        begun_at = time.perf_counter()
        deriver.hash_code(nonce, f"{number:06}")
        spans.append(time.perf_counter() - begun_at)
    assert min(spans) * GUESSES > 60 * MINUTE_SECONDS
