"""Read the forms of the hosted pages: a few short fields, each of them once. Knows no token and no page.

There is no cookie, so no other site can borrow a session (CSRF): the token in the form is the secret. What another site
could do is let its visitors' browsers guess codes and ask for mail, and for a form no browser asks first, as it does
for JSON (CORS); so what a browser says comes from another site is refused.
"""

from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from email_service.kernel.errors import BadRequestError, BodyTooLargeError, UnsupportedMediaTypeError
from email_service.web import problems

LARGEST_BYTES = 4096
_MOST_FIELDS = 8
_PLAIN, _IN_PARTS = "application/x-www-form-urlencoded", "multipart/form-data"
_OUR_SITES = frozenset({"same-origin", "none"})  # "none": the reader's own doing, such as a reload


def read(most_fields: int = _MOST_FIELDS) -> dict[str, str]:
    """The fields by their names, without white space around them.

    Raises BadRequestError, also for a form of another site, UnsupportedMediaTypeError or BodyTooLargeError.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in _OUR_SITES:
        raise BadRequestError("The form was sent by another site.")
    if request.mimetype != _PLAIN:
        raise UnsupportedMediaTypeError(f"The form has to be {_PLAIN}.")
    return _collect(_parse(_read_body(), most_fields))


def read_from_anywhere() -> dict[str, str]:
    """As `read`, for a signed link, which no other site knows: a mail program posts from wherever it is.

    RFC 8058 3.2 would rather have multipart than what browsers send by themselves.
    """
    if request.mimetype == _PLAIN:
        return _collect(_parse(_read_body(), _MOST_FIELDS))
    if request.mimetype != _IN_PARTS:
        raise UnsupportedMediaTypeError(f"The form has to be {_PLAIN} or {_IN_PARTS}.")
    body = _read_body()
    parser = FormDataParser(lambda *_, **__: BytesIO(), max_form_parts=_MOST_FIELDS, silent=False)
    try:
        _, fields, files = parser.parse(BytesIO(body), _IN_PARTS, len(body), request.mimetype_params)
    except (ValueError, RequestEntityTooLarge):
        raise BadRequestError("The form cannot be read.") from None
    if files:
        raise BadRequestError("The form takes no files.")
    return _collect(list(fields.items(multi=True)))


def _collect(fields: list[tuple[str, str]]) -> dict[str, str]:
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


def _parse(body: bytes, most_fields: int) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=most_fields,
        )
    except ValueError:
        raise BadRequestError("The form cannot be read.") from None
