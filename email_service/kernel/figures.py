"""What the processes of one `email-service` command have counted since it was started, in Prometheus' text format.

Web processes share a folder: each writes to a file in memory that it alone holds, and whoever is asked adds all of them
up. Knows which metric a tally belongs to; refuses to know what made it true.
"""

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from email_service.kernel.tallies import (
    Handover,
    HttpAnswer,
    MessageEvent,
    QuotaHit,
    SmtpReply,
    Tally,
    TokenIssue,
    TokenRedemption,
)

PREFIX = "email_service_"
_COUNTERS: Mapping[type, str] = {
    MessageEvent: "messages",
    TokenIssue: "token_issues",
    TokenRedemption: "token_redemptions",
    QuotaHit: "quota_hits",
}
# Each with the upper ends of its buckets. 30 s is what token mail is promised in (deploy/prometheus/alerts.yml).
_HISTOGRAMS: Mapping[type, tuple[str, tuple[float, ...]]] = {
    Handover: ("handover_seconds", (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400)),
    SmtpReply: ("smtp_seconds", (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)),
    HttpAnswer: ("http_request_seconds", (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)),
}
_SECONDS = "seconds"
_LABELS = {
    kind: tuple(each.name for each in fields(kind) if each.name != _SECONDS) for kind in (*_COUNTERS, *_HISTOGRAMS)
}
_FOLDER = "email-service-figures-"

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nobody asks for


class _Metric:
    """One metric, and how a tally of its kind is added to it."""

    def __init__(self, kind: type, metric: Counter | Histogram) -> None:
        self._metric = metric
        self._labels = attrgetter(*_LABELS[kind])
        # By their labels, each child's own way to be added to: to look a child up costs as much as to add to it.
        self._adders: dict[Any, Callable[[float], None]] = {}
        self._has_amount = isinstance(metric, Histogram)

    def add(self, tally: Any) -> None:
        """Count this one."""
        labels = self._labels(tally)
        adder = self._adders.get(labels) or self.know(tally)
        adder(getattr(tally, _SECONDS) if self._has_amount else 1)

    def know(self, tally: Any) -> Callable[[float], None]:
        """Tell of these labels from now on; how to add to them."""
        labels = self._labels(tally)
        child = self._metric.labels(*(labels if isinstance(labels, tuple) else (labels,)))
        self._adders[labels] = child.observe if isinstance(child, Histogram) else child.inc
        return self._adders[labels]


class Figures(Collector):
    """The counts of one application; threads may share it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[type, _Metric] = {}
        for kind, name in _COUNTERS.items():
            counter = Counter(PREFIX + name, _help(kind), _LABELS[kind], registry=self._registry)
            self._metrics[kind] = _Metric(kind, counter)
        for kind, (name, buckets) in _HISTOGRAMS.items():
            histogram = Histogram(PREFIX + name, _help(kind), _LABELS[kind], buckets=buckets, registry=self._registry)
            self._metrics[kind] = _Metric(kind, histogram)

    def count(self, tallies: Iterable[Tally]) -> None:
        """Add these to what was counted before."""
        for tally in tallies:
            self._metrics[type(tally)].add(tally)

    def expect(self, tallies: Iterable[Tally]) -> None:
        """Tell of these from now on, at first that there was none: a rate needs a number to start from."""
        for tally in tallies:
            self._metrics[type(tally)].know(tally)

    def collect(self) -> Iterator[Any]:
        """All that was counted, by whichever process of those that share."""
        if folder := shared_folder():
            # Without a registry it looks at nothing but the folder's files.
            yield from MultiProcessCollector(None, folder).collect()  # type: ignore[no-untyped-call]
        else:
            yield from self._registry.collect()


def make_folder() -> Path:
    """A folder for the processes that the present one is going to start; what earlier ones left behind is removed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        if folder.stat().st_uid == os.getuid() and _take(folder / "command.lock"):
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    # Held by this process and by those it starts, until the last of them has ended.
    _take(folder / "command.lock")
    return folder


def share(folder: Path) -> None:
    """Count together with the other processes that share this folder; called before anything was counted.

    A process takes the first file that nobody holds and goes on where its last holder ended, however that came about:
    sums never fall, and no file is left to a process that is gone.
    """
    number = next(number for number in itertools.count() if _take(folder / f"{number}.lock"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def shared_folder() -> str | None:
    """Where this process counts together with others; None when it counts for itself."""
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR")


def _take(path: Path) -> bool:
    """Whether this process holds the file from now on; the lock goes with the process, however that ends."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    # Never closed: that would give it up.
    return True


def _help(kind: type) -> str:
    return str(kind.__doc__)
