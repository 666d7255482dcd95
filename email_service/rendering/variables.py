"""The values a template is rendered with: the brand, what is wrong with variables, and how they are made harmless.

Knows JSON Schema and what mail clients do with text; knows no template and no Jinja.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from jsonschema_rs import Draft202012Validator, ValidationError

from email_service.kernel.errors import Fault, SettingsError
from email_service.rendering import colors

SIZE_LIMIT_BYTES = 256 * 1024
ONE_LINE = r"^[^\p{Cc}\p{Zl}\p{Zp}]*$"  # the pattern that a manifest gives to a name

_FAULT_LIMIT = 50
_LINK_LIMIT_CHARACTERS = 4096
_WEB_LINK = re.compile(r"https?://[^\s/?#@\\\"'<>`]+(?:[/?#][^\s\\\"'<>`]*)?", re.IGNORECASE)
# The same with a plain host and no port, as almost all are: the standard library need not take it apart.
_PLAIN_WEB_LINK = re.compile(r"https?://[a-z0-9.-]+(?:[/?#][^\s\\\"'<>`]*)?", re.IGNORECASE | re.ASCII)

# C0 and C1 controls except tab and line feed, and the characters that turn the direction of the text after them:
# "moc.live" behind U+202E reads "evil.com".
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What mail clients look for when they turn text into links: a dot before a letter, `://` and `@`.
# The joint comes first and what stands around it after: `re` then skips from joint to joint, in a tenth of the time.
_LINK_JOINTS = re.compile(
    r"[.\u3002\uff0e\uff61:@](?:(?<=\S[.\u3002\uff0e\uff61])(?=[^\W\d_])|(?<=:)(?=//)|(?<=\S@)(?=\S))"
)
_BREAK = "\\g<0>\u200c"

_HOST = re.compile(r"[a-z0-9.-]+")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")

_TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FORMATS = {"uri": "an absolute http or https link", "email": "an email address"}
_SENTENCES = {
    "maxLength": "may have at most {limit} characters",
    "minLength": "has to have at least {limit} characters",
    "maximum": "may be at most {limit}",
    "minimum": "has to be at least {limit}",
    "exclusiveMaximum": "has to be less than {limit}",
    "exclusiveMinimum": "has to be more than {limit}",
    "maxItems": "may have at most {limit} entries",
    "minItems": "has to have at least {limit} entries",
    "maxProperties": "may have at most {limit} entries",
    "minProperties": "has to have at least {limit} entries",
    "multipleOf": "has to be a multiple of {multiple_of}",
    "uniqueItems": "may not hold the same entry twice",
    "pattern": "has to match the pattern {pattern}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """Who the mail comes from, in the reader's eyes; from the settings, the same in every message."""

    name: str
    logo_url: str | None = None
    color: str = "#2563eb"
    color_end: str | None = None  # what the header's colour turns into from one side to the other; None: it stays
    support_email: str | None = None
    frontend_url: str

    def __post_init__(self) -> None:
        for color in (self.color, self._end):
            if not _COLOR.fullmatch(color):
                raise SettingsError(f"The brand's colours have to be written like #2563eb, not {color!r}.")
        ink = colors.find_ink(self.color, self._end)
        if min(colors.contrast(ink, self.color), colors.contrast(ink, self._end)) < colors.READABLE_LARGE:
            raise SettingsError(
                f"BRAND_COLOR {self.color} and BRAND_COLOR_END {self._end} are too far apart: "
                "no ink can be read on both. Take two light colours or two dark ones."
            )

    def as_variables(self) -> dict[str, str | None]:
        """What templates see as `brand`: also which ink reads best on its colours, and its colour as that of a link.

        `on_color` is for what stands on the colour, `on_colors` for the header, `night_link_color` for dark mode.
        """
        return {
            **asdict(self),
            "color_end": self._end,
            "on_color": colors.find_ink(self.color),
            "on_colors": colors.find_ink(self.color, self._end),
            "link_color": self.color if colors.contrast(self.color, colors.WHITE) >= colors.READABLE else colors.INK,
            "night_link_color": colors.lighten(self.color, colors.NIGHT),
        }

    @property
    def _end(self) -> str:
        return self.color_end or self.color


def is_web_link(value: str) -> bool:
    """Whether this is an absolute http(s) link that every parser reads alike: no user, no white space, no quotes."""
    if len(value) > _LINK_LIMIT_CHARACTERS or not value.isprintable():
        return False
    if _PLAIN_WEB_LINK.fullmatch(value):
        return True
    if not _WEB_LINK.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False


def compile_schema(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator that asserts formats, takes only web links for `uri` and never fetches a remote schema."""
    return Draft202012Validator(
        schema, validate_formats=True, formats={"uri": is_web_link}, keywords={"hosts": _Hosts}, offline=True
    )


class _Hosts:
    """The keyword `hosts` of a link: where it may lead, so that nobody sends the product's readers anywhere else."""

    def __init__(self, _parent: Any, hosts: Any, _path: Any) -> None:
        if not isinstance(hosts, list) or not hosts or not all(_HOST.fullmatch(str(each)) for each in hosts):
            raise ValueError("hosts is a list of names in small letters, such as app.example.com")
        self._hosts = hosts

    def validate(self, instance: Any) -> None:
        # Whatever is no web link is the business of its format.
        if isinstance(instance, str) and is_web_link(instance) and urlsplit(instance).hostname not in self._hosts:
            raise ValueError(f"has to lead to {' or '.join(self._hosts)}")


def find_faults(variables: Mapping[str, Any], validator: Draft202012Validator, schema: dict[str, Any]) -> list[Fault]:
    """What is wrong with these variables, at most 50 faults, each pointer below /variables."""
    try:
        size = len(json.dumps(variables, ensure_ascii=False, allow_nan=False).encode())
        if size > SIZE_LIMIT_BYTES:
            return [Fault("/variables", f"may be at most {SIZE_LIMIT_BYTES // 1024} kB in all, as JSON")]
        known = ", ".join(schema["properties"]) or "none"
        faults = (fault for error in validator.iter_errors(variables) for fault in explain(error, known))
        return [Fault(f"/variables{each.pointer}", each.message) for each in islice(faults, _FAULT_LIMIT)]
    except UnicodeEncodeError:
        return [Fault("/variables", "hold a lone surrogate code point, which no mail can carry")]
    except RecursionError:
        return [Fault("/variables", "are nested too deeply")]
    except (TypeError, ValueError):  # NaN, a foreign type, or deeper than the validator goes
        return [Fault("/variables", "hold a value that JSON does not know, or are nested too deeply")]


def explain(error: ValidationError, known: str | None = None) -> Iterator[Fault]:
    """The validator's finding as sentences that never repeat the value, which may be a secret."""
    details: dict[str, Any] = error.kind.as_dict()
    match error.kind.name:
        case "required":
            yield Fault(_pointer([*error.instance_path, details["property"]]), "is required")
        case "additionalProperties":
            sentence = "is not known here" if known is None or error.instance_path else _unknown(known)
            yield from (Fault(_pointer([*error.instance_path, name]), sentence) for name in details["unexpected"])
        case kind:
            yield Fault(_pointer(error.instance_path), _sentence(kind, details))


def _unknown(known: str) -> str:
    return f"is not a variable of this template; known: {known}"


def _sentence(kind: str, details: dict[str, Any]) -> str:
    match kind:
        case "type":
            sentence = f"has to be {' or '.join(_TYPES.get(each, each) for each in details['types'])}"
        case "enum":
            sentence = f"has to be one of {', '.join(json.dumps(each) for each in details['options'])}"
        case "const":
            sentence = f"has to be {json.dumps(details['expected_value'])}"
        case "format":
            sentence = f"has to be {_FORMATS.get(details['format'], 'a valid ' + details['format'])}"
        case "hosts":
            sentence = details["message"]
        case "minLength" if details["limit"] == 1:
            sentence = "may not be empty"
        case "pattern" if details["pattern"] == ONE_LINE:
            sentence = "may not hold line breaks or control characters"
        case _:
            sentence = _SENTENCES.get(kind, "does not fit its schema ({kind})").format(kind=kind, **details)
    return sentence


def _pointer(path: list[str | int]) -> str:
    return "".join("/" + str(step)[:100].replace("~", "~0").replace("/", "~1") for step in path)


def clean(value: Any, schema: Any) -> Any:
    """A copy of a JSON value without controls, direction overrides and line ends other than LF.

    Raises TypeError for what JSON does not know and ValueError for a `uri` that is no web link.
    """
    return _walk(value, schema if isinstance(schema, dict) else {}, _clean_text)


def unlink(value: Any, schema: Any) -> Any:
    """As `clean`, and no text in it becomes a link by itself: clients link "evil.com" in a display name.

    A zero-width non-joiner behind each joint is invisible and stops them; `uri` and `email` values stay as they are.
    """
    return _walk(value, schema if isinstance(schema, dict) else {}, _unlink_text)


def harden(variables: Mapping[str, Any], schema: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """All variables of a message, as `clean` and as `unlink` give them."""
    cleaned = _walk(dict(variables), schema if isinstance(schema, dict) else {}, _clean_text)
    return cleaned, _walk(cleaned, schema if isinstance(schema, dict) else {}, _unlink_clean_text)


def _walk(value: Any, schema: dict[str, Any], write: Callable[[str, str | None], str]) -> Any:
    # The exact types are what JSON gives, and asking for them costs the least.
    kind = type(value)
    if kind is str:
        return write(value, schema.get("format"))
    if kind is int or kind is bool or value is None or kind is float:
        return value
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {
            key if key in known else write(key, None): _walk(each, known.get(key, {}), write)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        items = schema.get("items", {})
        return [_walk(each, items if isinstance(items, dict) else {}, write) for each in value]
    if isinstance(value, str):
        return write(str(value), schema.get("format"))
    if isinstance(value, int | float):
        return value
    raise TypeError(f"a variable may not be of the type {kind.__name__}")


def _clean_text(text: str, form: str | None) -> str:
    if form == "uri":
        if not is_web_link(text):
            raise ValueError("a link is not an absolute http or https link")
        return text
    # Most text is a word or a line of ASCII, in which there is nothing to find.
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _unlink_text(text: str, form: str | None) -> str:
    return _unlink_clean_text(_clean_text(text, form), form)


def _unlink_clean_text(text: str, form: str | None) -> str:
    if form == "uri" or form == "email":  # noqa: PLR1714 - a set costs three times as much
        return text
    inner = text[1:-1]  # a joint has something on both sides
    if text.isascii() and "." not in inner and "@" not in inner and "://" not in text:
        return text
    return _LINK_JOINTS.sub(_BREAK, text)
