"""What becomes of a test whose server is not there: a failure in CI, elsewhere a skip that the summary counts."""

from typing import NoReturn

import pytest
import servers


def give_up(name: str, sentence: str | None = None) -> NoReturn:
    """End the test with the sentence, which by default says how to start the server of this name."""
    sentence = sentence or f"{name} is missing: {servers.HOW_TO_START[name]}."
    if servers.IN_CI:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
