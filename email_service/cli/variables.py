"""Reads `NAME=VALUE` from the command line into template variables. Knows no template."""

import json
from typing import IO

import click


def parse_variables(pairs: tuple[str, ...]) -> dict[str, object]:
    """The variables; a value that is a JSON number, boolean, list or object is one, anything else is text."""
    variables: dict[str, object] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator):
            raise click.BadParameter(f"{pair!r} has to be written NAME=VALUE.")
        variables[name] = _typed(value)
    return variables


def read_variables(source: IO[str]) -> dict[str, object]:
    """The variables in a file of JSON."""
    try:
        found: object = json.load(source)
    except ValueError as error:
        raise click.BadParameter(
            f'the file is not JSON ({error}); write an object such as {{"name": "Ada"}}.'
        ) from None
    if not isinstance(found, dict):
        raise click.BadParameter('the file has to hold one JSON object, such as {"name": "Ada"}.')
    return found


def _typed(value: str) -> object:
    try:
        found: object = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(found, str) else found
