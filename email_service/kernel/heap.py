"""Tells Python's garbage collector what is here to stay, so that it does not look for garbage in the program itself.

A full collection walks every object that a process ever made: about 100 ms here, with every thread waiting.
"""

import gc

# New objects between two looks at the young ones, and looks between two of the older generations. What a request or a
# message makes has no cycles and is gone before any look; the bound on what a look can find is a few megabytes.
_THRESHOLDS = (10_000, 20, 50)


def settle() -> None:
    """To be called when a process has loaded what it needs; again, when it has loaded more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
