"""The root of the command, and how its failures are told."""

import sys

import click
from sqlalchemy.exc import SQLAlchemyError

from email_service.cli.client import client
from email_service.cli.dkim import dkim
from email_service.cli.doctor import doctor
from email_service.cli.health import health
from email_service.cli.keys import keys
from email_service.cli.purge import purge
from email_service.cli.requeue import requeue
from email_service.cli.send import send
from email_service.cli.serve import beat, migrate, run, worker
from email_service.cli.template import template
from email_service.kernel.errors import ServiceError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="email-service", message="%(version)s")
def commands() -> None:
    """Self-hosted transactional email: templated messages in over HTTP, mail out over SMTP."""


for command in (run, migrate, worker, beat, client, template, send, purge, dkim, keys, requeue, health, doctor):
    commands.add_command(command)


def main() -> None:
    """Run the command line; say what went wrong and what to do next, without a traceback."""
    try:
        commands(standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.Abort:
        sys.exit("Stopped.")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ServiceError as error:
        untold = [fault for fault in error.faults if fault.message not in error.detail]
        lines = [f"  {fault.pointer.lstrip('/')}: {fault.message}" for fault in untold]
        sys.exit("\n".join([f"Error: {error.detail}", *lines]))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        sys.exit(f"Error: the database cannot be used ({reason}); check DATABASE_URL, or run `email-service migrate`.")
