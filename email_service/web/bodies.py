"""Read a request's JSON body strictly: one object, unique names, no NaN, nothing that no database can store.

Knows nothing of what the members mean; schemas do.
"""

import json
import re
from typing import Any

from flask import request
from flask.json.provider import DefaultJSONProvider

from email_service.kernel.errors import BodyTooLargeError, MalformedBodyError, UnsupportedMediaTypeError

_MAX_DEPTH = 64
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_TOO_DEEP = f"The body is nested too deeply; at most {_MAX_DEPTH} levels are read."


class StrictJSONProvider(DefaultJSONProvider):
    """Flask's JSON with the ambiguities of RFC 8259 refused instead of resolved by chance."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse; MalformedBodyError says what is wrong and where."""
        try:
            # UTF-8 only (RFC 8259 8.1): given bytes, the standard library also guesses UTF-16 and lets surrogates in.
            text = s.decode() if isinstance(s, bytes) else s
            value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, **kwargs)
        except json.JSONDecodeError as error:
            raise MalformedBodyError(
                f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from None
        except UnicodeDecodeError:
            raise MalformedBodyError("The body is not valid UTF-8.") from None
        except RecursionError:
            raise MalformedBodyError(_TOO_DEEP) from None
        except ValueError:
            raise MalformedBodyError("The body holds a number of too many digits.") from None
        if "\\u" in text or text.count("[") + text.count("{") > _MAX_DEPTH:
            _refuse_unstorable(value)
        return value


def read() -> None:
    """Parse the body once, if there is one; later readers get the same object."""
    if request.method in {"GET", "HEAD", "DELETE"} or not _has_body():
        return
    if not request.is_json:
        raise UnsupportedMediaTypeError
    _refuse_cut()
    if not isinstance(request.get_json(), dict):
        raise MalformedBodyError("The body has to be one JSON object.")


def _refuse_cut() -> None:
    # Werkzeug reads a chunked body up to the limit and drops the rest without a word.
    limit = request.max_content_length
    is_full = request.content_length is None and limit is not None and len(request.get_data()) >= limit
    if is_full and request.environ["wsgi.input"].read(1):
        raise BodyTooLargeError


def _has_body() -> bool:
    return bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise MalformedBodyError(f"The member {repeated[:100]!r} stands twice in one JSON object.")
    return members


def _refuse_constant(name: str) -> Any:
    raise MalformedBodyError(f"{name} is not valid JSON; use null or a number.")


def _refuse_unstorable(value: Any) -> None:
    # Escapes can spell what UTF-8 cannot carry (half a surrogate pair) and what PostgreSQL cannot store (NUL). What is
    # nested deeply would exhaust the stack of whoever reads it after us.
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise MalformedBodyError(_TOO_DEEP)
        if isinstance(item, dict):
            waiting += ((each, depth + 1) for pair in item.items() for each in pair)
        elif isinstance(item, list):
            waiting += ((each, depth + 1) for each in item)
        elif isinstance(item, str) and _UNSTORABLE.search(item):
            raise MalformedBodyError("A string holds NUL or half a surrogate pair, which no text can hold; remove it.")
