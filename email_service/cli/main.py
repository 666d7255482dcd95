"""The root of the command, and how its failures are told."""

import sys
from importlib import import_module

import click
from sqlalchemy.exc import SQLAlchemyError

from email_service.kernel.errors import ServiceError

# The module of each command; most have one of their name.
_ALONE = ("client", "template", "send", "purge", "dkim", "keys", "requeue", "health", "doctor")
_PLACES = {**{name: name for name in _ALONE}, **dict.fromkeys(("run", "migrate", "worker", "beat"), "serve")}


class _Commands(click.Group):
    """Loads a command when it is called: a health check is asked for twice a minute and needs little of the program."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(_PLACES)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _PLACES:
            return None
        command: click.Command = getattr(import_module(f"email_service.cli.{_PLACES[name]}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="email-service", message="%(version)s")
def commands() -> None:
    """Self-hosted transactional email: templated messages in over HTTP, mail out over SMTP."""


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
