"""How a benchmark speaks: progress on standard error, results on standard output, medians with their spread."""

import os
import statistics
import sys
from collections.abc import Sequence


def tell(text: str) -> None:
    """One line of progress; on a terminal it replaces the one before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def clear() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def introduce(title: str) -> None:
    one, five, _ = os.getloadavg()
    print(
        f"{title}\n{os.cpu_count()} cores, load {one:.1f} now and {five:.1f} over five minutes before the run\n",
        flush=True,
    )


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def with_spread(values: Sequence[float], unit: str) -> str:
    """The median and the extremes: `412/s (390 to 433)`."""
    middle = statistics.median(values)
    digits = 0 if middle >= 20 else 2
    return f"{middle:.{digits}f}{unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Ours by theirs, each round by its neighbour, so that a noisy minute weighs on both sides alike."""
    each = [one / other for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def demand(ours: Sequence[float], theirs: Sequence[float], name: str, least: float) -> None:
    """Print the ratio of ours to theirs, and whether its median is at least what it has to be."""
    ratio = median([one / other for one, other in zip(ours, theirs, strict=True)])
    verdict = "kept" if ratio >= least else "BROKEN"
    print(f"ratio to {name}: {ratios(ours, theirs)}; at least {least}: {verdict}", flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
