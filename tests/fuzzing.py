"""How far fuzzing goes: a few examples, the same in every run, or with FUZZ_EXAMPLES that many, others each time.

Knows no pytest and nothing of what is fuzzed.
"""

import os
import secrets
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.applications import House, empty

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))  # of every fuzzed thing; 0: as few as each says
IS_LONG = EXAMPLES > 0
SEED = secrets.randbits(32) if IS_LONG else 20_261_121


def thorough(examples: int, **options: Any) -> settings:
    """The settings of a fuzzed test that tries this many examples in an ordinary run."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not IS_LONG,
        database=None,
        deadline=None,
        # Statements and whole requests are slower than what Hypothesis has in mind, and a fixture serves all examples.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        **options,
    )


def live(house: House, begin: Callable[[], RuleBasedStateMachine]) -> None:
    """Live through many lives, each begun in the empty house; fewer on PostgreSQL, which is slow to empty."""

    def born() -> RuleBasedStateMachine:
        empty(house)
        return begin()

    is_sqlite = str(house.app.config["SQLALCHEMY_DATABASE_URI"]).startswith("sqlite")
    run_state_machine_as_test(born, settings=thorough(30 if is_sqlite else 6, stateful_step_count=40))
