"""Reads `NAME=VALUE` from the command line into template variables. Knows no template."""

import json

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


def _typed(value: str) -> object:
    try:
        found: object = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(found, str) else found
