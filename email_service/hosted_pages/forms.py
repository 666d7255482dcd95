"""Read the forms of the hosted pages: a few short fields, each of them once. Knows no token and no page.

There is no cookie, so no other site can borrow a session (CSRF): the token in the form is the secret. What another site
could do is let its visitors' browsers guess codes and ask for mail, and for a form no browser asks first, as it does
for JSON (CORS); so what a browser says comes from another site is refused.
"""

from typing import Any
from urllib.parse import parse_qsl

from flask import request
from marshmallow import Schema, ValidationError

from email_service.kernel.errors import BadRequestError, BodyTooLargeError, UnsupportedMediaTypeError
from email_service.web import problems

LARGEST_BYTES = 4096
_MOST_FIELDS = 8
_OUR_SITES = frozenset({"same-origin", "none"})  # "none": the reader's own doing, such as a reload


def read() -> dict[str, str]:
    """The fields by their names, without white space around them.

    Raises BadRequestError, also for a form of another site, UnsupportedMediaTypeError or BodyTooLargeError.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in _OUR_SITES:
        raise BadRequestError("The form was sent by another site.")
    if request.mimetype != "application/x-www-form-urlencoded":
        raise UnsupportedMediaTypeError("The form has to be application/x-www-form-urlencoded.")
    fields = _parse(_read_body())
    if len(dict(fields)) != len(fields):
        raise BadRequestError("A field stands twice in the form.")
    return {name: value.strip() for name, value in fields}


def check(schema: Schema, fields: dict[str, str]) -> Any:
    """What the schema makes of the fields; InvalidInputError when it refuses them."""
    try:
        return schema.load(fields)
    except ValidationError as error:
        raise problems.refusal(error.messages) from None


def _read_body() -> bytes:
    request.max_content_length = LARGEST_BYTES
    body = request.get_data()
    # Werkzeug reads a chunked body up to the limit and drops the rest without a word.
    if len(body) >= LARGEST_BYTES:
        raise BodyTooLargeError("The form is larger than any that this page has.")
    return body


def _parse(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise BadRequestError("The form cannot be read.") from None
