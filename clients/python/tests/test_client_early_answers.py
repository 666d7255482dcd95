"""A refusal that is there before the body has been read is heard, by both clients, over real connections."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

import email_service_client as client
from email_service_client import Retries

# Twice MAX_BODY_BYTES, and more than the kernel keeps for a connection.
LARGE = {"template": "welcome", "to": "ada@example.com", "variables": {"name": "A" * 32 * 1024**2}}
ONCE = Retries(total_seconds=0.0)


def refused(web, status: int) -> int:
    """How many calls the service has answered so."""
    return sum(f'"status": {status}' in line for line in web.process.log().splitlines())


def test_a_body_that_is_too_large_is_refused_once_and_in_words(face, web):
    """T28"""
    before = refused(web, 413)
    with pytest.raises(client.ProblemError) as told:
        face.ask(lambda service: service.messages.send(**LARGE))
    assert (told.value.code, told.value.status) == ("body_too_large", 413)
    assert refused(web, 413) == before + 1


def test_a_key_that_is_not_valid_is_told_although_nobody_wants_the_body(face):
    key = f"esk_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    with pytest.raises(client.Unauthenticated):
        face.ask(lambda service: service.messages.send(**LARGE), api_key=key, retries=ONCE)


def test_many_at_once_all_hear_of_it(face):
    def ask(_: int) -> str:
        with pytest.raises(client.ProblemError) as told:
            face.ask(lambda service: service.messages.send(**LARGE), retries=ONCE)
        return told.value.code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(8))) == {"body_too_large"}
