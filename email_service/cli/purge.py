"""`email-service purge`: forget now what is old, instead of waiting for the service to come round to it."""

import sys
from collections.abc import Mapping

import click

from email_service.cli import house
from email_service.engine import create_policy
from email_service.kernel import clock
from email_service.retention.purge import Purge, count
from email_service.settings import load

_TOLD_EVERY_SECONDS = 1.0


@click.command()
@click.option("--dry-run", is_flag=True, help="Count what would go, and delete nothing.")
@click.option(
    "--days", type=click.IntRange(1, 3650), help="Keep finished messages this long; RETENTION_DAYS if left out."
)
def purge(dry_run: bool, days: int | None) -> None:
    """Delete what is kept longer than the settings say; safe to stop, and to run while the service works."""
    settings = load()
    parts = house.parts(house.build(settings))
    policy = create_policy(settings)
    policy = policy if days is None else policy.shortened(days)
    print("Counting what is old...", file=sys.stderr, flush=True)
    with parts.glances() as session:
        old = count(session, policy)
    if dry_run:
        _sum_up(old, "would go")
        return
    progress = _Progress(sum(old.values()))
    try:
        _sum_up(Purge(parts.sessions, policy).run(progress.tell), "deleted")
    except KeyboardInterrupt:
        _sum_up(progress.removed, "deleted")
        raise click.ClickException("stopped before the end; run it again to go on.") from None
    finally:
        progress.close()


class _Progress:
    """A line on standard error now and then; on a terminal it replaces the one before."""

    def __init__(self, expected: int) -> None:
        self.removed: Mapping[str, int] = {}
        self._expected = expected
        self._told_at_seconds = clock.monotonic_seconds()
        self._is_open = False

    def tell(self, removed: Mapping[str, int]) -> None:
        self.removed = removed
        if clock.monotonic_seconds() - self._told_at_seconds < _TOLD_EVERY_SECONDS:
            return
        self._told_at_seconds = clock.monotonic_seconds()
        line = f"{sum(removed.values())} of about {self._expected} rows"
        self._is_open = sys.stderr.isatty()
        print(
            f"\r\033[K{line}" if self._is_open else line, end="" if self._is_open else "\n", file=sys.stderr, flush=True
        )

    def close(self) -> None:
        if self._is_open:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _sum_up(numbers: Mapping[str, int], verb: str) -> None:
    for name, number in numbers.items():
        print(f"{name:20} {number:>10} {verb}")
