"""Writes one header field as RFC 5322 folds it and RFC 2047 and RFC 2231 encode it. Knows no message and no MIME part;
every field that leaves here was checked once more for line breaks, whatever its maker thought.
"""

import binascii
import re
from collections.abc import Iterable

from email_service.kernel.errors import InvalidInputError
from email_service.kernel.headers import check_address, check_text

FOLD_COLUMN = 76  # RFC 2047 2: a line with an encoded word has at most 76 characters
_PAYLOAD_LENGTH = 48  # what one encoded word carries, so that it stands on a line behind any of our names
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_WORD = re.compile(r" *[^ ]+")
_PLAIN_IN_Q = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_PLAIN_IN_PARAMETER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_Q = {byte: chr(byte) if byte in _PLAIN_IN_Q else f"={byte:02X}" for byte in range(256)} | {ord(" "): "_"}
_PERCENT = {byte: chr(byte) if byte in _PLAIN_IN_PARAMETER else f"%{byte:02X}" for byte in range(256)}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def field(name: str, chunks: Iterable[str]) -> str:
    """One field, folded between chunks (RFC 5322 2.2.3), with its line end; a chunk brings its own leading space."""
    chunks = list(chunks)
    line = f"{name}:{''.join(chunks)}"
    # Most fields are one short line of printable ASCII, which is all that the check below could ask of them.
    if len(line) <= FOLD_COLUMN and line.isascii() and line.isprintable():
        return f"{line}\r\n"
    lines = [f"{name}:"]
    for chunk in chunks:
        if len(lines[-1]) + len(chunk) > FOLD_COLUMN and lines[-1] != f"{name}:":
            lines.append(chunk)
        else:
            lines[-1] += chunk
    for number, line in enumerate(lines):
        # CVE-2026-1299: what was generated is checked too, so that a mistake above cannot become a second header.
        is_continued = line.startswith(" ") and not line.isspace()
        if _CONTROL.search(line) or (number and not is_continued) or len(line.encode()) > 998:  # noqa: PLR2004 - RFC 5322 2.1.1
            raise InvalidInputError(f"The header {name} cannot be written safely.")
    return "\r\n".join(lines) + "\r\n"


def text_field(name: str, value: str) -> str:
    """An unstructured field, such as Subject, that reads back as exactly this value."""
    is_short = len(name) + len(value) < FOLD_COLUMN - 1
    if is_short and value.isascii() and value.isprintable() and value == value.strip() and "=?" not in value:
        return field(name, (" ", value))
    check_text(f"/{name.lower()}", value)
    chunks = _WORD.findall(value)
    is_plain = value.isascii() and value == value.strip() and "=?" not in value
    if is_plain and all(len(chunk) < FOLD_COLUMN for chunk in chunks):
        return field(name, [f" {chunks[0]}", *chunks[1:]] if chunks else [" "])
    return field(name, _encoded_words(value))


def structured_field(name: str, value: str) -> str:
    """A field whose ASCII value is kept as it is, folded at its spaces where that is needed."""
    check_text(f"/{name.lower()}", value)
    return field(name, _WORD.findall(f" {value}"))


def mailboxes_field(name: str, mailboxes: Iterable[tuple[str, str]]) -> str:
    """An address list from pairs of address and display name (RFC 5322 3.4)."""
    pointer = f"/{name.lower().replace('-', '_')}"
    chunks: list[str] = []
    for address, display_name in mailboxes:
        check_address(pointer, address)
        check_text(pointer, display_name)
        shown = display_name.strip()
        if chunks:
            chunks[-1] += ","
        chunks += [*_phrase(shown), f" <{address}>"] if shown else [f" {address}"]
    return field(name, chunks)


def parameter(name: str, value: str) -> list[str]:
    """The chunks of `; name=value`, the value quoted, or in the pieces of RFC 2231 when it is long or not ASCII."""
    check_text(f"/{name}", value)
    is_plain = value.isascii() and value == value.strip() and "=?" not in value
    if is_plain and len(value) <= _PAYLOAD_LENGTH:
        return [f' {name}="{_escaped(value)}"']
    pieces = list(_packed((_translated(character, _PERCENT) for character in value), _PAYLOAD_LENGTH))
    if len(pieces) == 1:
        return [f" {name}*=utf-8''{pieces[0]}"]
    marks = ["utf-8''"] + [""] * (len(pieces) - 1)
    last = len(pieces) - 1
    return [
        f" {name}*{number}*={marks[number]}{piece}{'' if number == last else ';'}"
        for number, piece in enumerate(pieces)
    ]


def _phrase(display_name: str) -> list[str]:
    """The chunks of a display name: bare, quoted or encoded."""
    if not display_name.isascii() or "=?" in display_name or len(display_name) > _PAYLOAD_LENGTH:
        return _encoded_words(display_name)
    if _ATOMS.fullmatch(display_name):
        return [f" {display_name}"]
    return [f' "{_escaped(display_name)}"']


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _encoded_words(value: str) -> list[str]:
    """The value as encoded words (RFC 2047), in the shorter of its two encodings; no word splits a character."""
    in_q = [_translated(character, _Q) for character in value]
    octets = len(value.encode())
    if sum(map(len, in_q)) <= octets * 4 // 3:
        return [f" =?utf-8?q?{word}?=" for word in _packed(in_q, _PAYLOAD_LENGTH)]
    pieces = _packed(value, _PAYLOAD_LENGTH * 3 // 4)
    return [f" =?utf-8?b?{binascii.b2a_base64(piece.encode(), newline=False).decode()}?=" for piece in pieces]


def _translated(character: str, table: dict[int, str]) -> str:
    return "".join(table[octet] for octet in character.encode())


def _packed(atoms: Iterable[str], limit: int) -> Iterable[str]:
    """The atoms joined in order, as many in each string as fit into `limit` octets."""
    piece, length = "", 0
    for atom in atoms:
        octets = len(atom.encode())
        if piece and length + octets > limit:
            yield piece
            piece, length = "", 0
        piece += atom
        length += octets
    yield piece
