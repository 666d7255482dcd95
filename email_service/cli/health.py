"""`email-service health`: whether the worker or the beat of this container is at work. Reads a file, asks nobody."""

import click

from email_service.kernel import heartbeat

WORKER = "worker"
BEAT = "beat"


@click.command()
@click.argument("role", type=click.Choice([WORKER, BEAT]))
def health(role: str) -> None:
    """Say whether the worker or the beat of this container is at work; exit code 1 when it is not."""
    age_seconds = heartbeat.find_age_seconds(role)
    if age_seconds is None:
        place = heartbeat.find_path(role)
        raise click.ClickException(
            f"No {role} has given a sign of life in {place}: start `email-service {role}`, or set TMPDIR as it has it."
        )
    if age_seconds > heartbeat.STALE_SECONDS:
        raise click.ClickException(
            f"The {role} gave its last sign of life {age_seconds:.0f} seconds ago: look at its log and restart it."
        )
    print(f"The {role} is at work: it gave a sign of life {age_seconds:.0f} seconds ago.")
