"""What every way to deploy the service is held against: the settings that exist, and the command line.

Knows neither containers nor units.
"""

from collections.abc import Sequence
from dataclasses import fields

import click

from email_service.cli.main import commands
from email_service.settings import Settings
from email_service.settings.variables import Variable


def known_variables() -> set[str]:
    """Every setting by each of its names."""
    declared = {each.name.upper(): each.metadata.get("variable") for each in fields(Settings)}
    variables = {name: variable for name, variable in declared.items() if isinstance(variable, Variable)}
    return {*variables, *(each.alias for each in variables.values() if each.alias), "SENDER_NAME"}


def parse(words: Sequence[str]) -> str:
    """The name of the command, read as `email-service` would, without running it; a mistake raises."""
    return read(words)[0]


def read(words: Sequence[str]) -> tuple[str, click.Context]:
    """The name of the command, and what it was given."""
    with commands.make_context("email-service", list(words)) as context:
        name, command, arguments = commands.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        return str(name), command.make_context(name, arguments, parent=context)
