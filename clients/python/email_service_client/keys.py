"""The service's public signing keys: kept for as long as it says, and read again when a token names one that is new.

Knows documents and times; `signatures` decides whether a signature is right.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from email_service_client.calls import Call, Line
from email_service_client.exchange import Conversation, Reply
from email_service_client.problems import EmailServiceError, UnexpectedAnswer
from email_service_client.retries import Retries

Key = Mapping[str, Any]
_CALL = Call("GET", "/.well-known/jwks.json", dict[str, Any])
# Names of keys that somebody made up must not have the service asked for each of them.
_ASK_AGAIN_SECONDS = 10.0
# While the service is away, what was known goes on to be believed, for as long as what it signed may live.
_LONGEST_SECONDS = 24 * 3600.0
_USUAL_SECONDS = 300.0  # where the answer says nothing of how long it may be kept
_ONCE = Retries(total_seconds=0.0)
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read at a time; replaced as a whole, so that threads need no lock."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    read_at: float = _NEVER
    fresh_until: float = _NEVER


class KeyRing:
    """The keys of one service."""

    def __init__(self) -> None:
        self._known = _Known()
        self._asked_at = _NEVER
        self._heard_at = _NEVER

    def find(self, name: str, line: Line) -> Conversation[Key | None]:
        """The key of this name, if the service has one."""
        if self._is_due(line.now()):
            yield from self._read(line)
        # Who comes while another one is asking asks too: it must not be refused for a key that is on its way.
        if name not in self._known.keys and line.now() - self._heard_at > _ASK_AGAIN_SECONDS:
            yield from self._read(line)
        return self._known.keys.get(name)

    def _is_due(self, now: float) -> bool:
        """Whether to ask. With keys at hand one caller does, and the others go on with them."""
        if now - self._known.read_at > _LONGEST_SECONDS:
            return True
        return now >= self._known.fresh_until and now - self._asked_at > _ASK_AGAIN_SECONDS

    def _read(self, line: Line) -> Conversation[None]:
        self._asked_at = line.now()
        is_usable = self._asked_at - self._known.read_at <= _LONGEST_SECONDS
        try:
            # Nobody waits out a fault of the service whose keys are known.
            reply = yield from _CALL.talk(replace(line, retries=_ONCE) if is_usable else line)
            now = line.now()
            self._known = _Known(_keys(reply), now, now + _fresh_seconds(reply))
        except EmailServiceError:
            if not is_usable:
                raise
        finally:
            self._heard_at = line.now()


def _keys(reply: Reply) -> Mapping[str, Key]:
    try:
        return {key["kid"]: key for key in json.loads(reply.content)["keys"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnexpectedAnswer(f"{_CALL}: {reply.status}, and no set of keys") from None


def _fresh_seconds(reply: Reply) -> float:
    """By Cache-Control and Age (RFC 9111 4.2)."""
    told = reply.headers.get("Cache-Control", "").lower()
    if "no-store" in told or "no-cache" in told:
        return 0.0
    longest = re.search(r"max-age=(\d+)", told)
    age = reply.headers.get("Age", "")
    return (float(longest[1]) if longest else _USUAL_SECONDS) - (float(age) if age.isdecimal() else 0.0)
