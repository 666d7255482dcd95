"""Calls that begin at the same moment, each in a thread of its own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WAIT_SECONDS = 60


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call returned, in their order, after all have begun at once; an error of any is raised."""
    barrier = threading.Barrier(len(calls), timeout=WAIT_SECONDS)

    def begin(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result(WAIT_SECONDS) for each in [pool.submit(begin, call) for call in calls]]
