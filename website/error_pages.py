"""The list of error codes, from the classes in kernel/errors. Knows no call and no sentence of its own."""

from collections.abc import Iterator
from http import HTTPStatus
from inspect import cleandoc
from itertools import groupby

from email_service.kernel.errors import ServiceError


def errors(error: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """The error and everything below it."""
    yield error
    for each in error.__subclasses__():
        yield from errors(each)


def markdown() -> str:
    """A table for each status."""
    parts: list[str] = []
    ordered = sorted(errors(), key=lambda error: (error.status, error.code))
    for status, group in groupby(ordered, key=lambda error: error.status):
        parts += [f"## {status} {HTTPStatus(status).phrase}", "", "| code | title | what it means |", "|---|---|---|"]
        for error in group:
            sentence = " ".join(cleandoc(error.__doc__ or "").split()).replace("|", "\\|")
            parts.append(f"| `{error.code}`{{ #{error.code} }} | {error.title} | {sentence} |")
        parts.append("")
    return "\n".join(parts)
