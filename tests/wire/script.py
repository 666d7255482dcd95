"""What the scripted server is told, and what it keeps of what it heard. Knows no socket."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.wire.steps import Step


@dataclass(frozen=True)
class Script:
    """What the server offers and how it behaves.

    The keys of `steps` are banner, ehlo, helo, starttls, auth, mail, rcpt, `rcpt:<address>`, data, content (after the
    354, before any of it is read), final, rset, noop and quit. A list is taken one by one, its last
    item again and again. RCPT without MAIL and DATA without RCPT are refused, unless `data` has a step.
    """

    steps: Mapping[str, Step | Sequence[Step]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("SIZE 10000000", "8BITMIME", "SMTPUTF8")
    tls: str = "none"  # none, starttls or implicit
    context: ssl.SSLContext | None = None
    credentials: tuple[str, str] | None = None
    mechanisms: str = "PLAIN LOGIN"
    is_corked: bool = False  # answers go out together, once no more commands have come
    cut_octets: int = 0  # answers go out in pieces of so many octets

    @property
    def has_silence(self) -> bool:
        """Whether the server may fall silent."""
        taken = [step if isinstance(step, Sequence) else [step] for step in self.steps.values()]
        return any(step.is_silent for steps in taken for step in steps)


@dataclass
class Received:
    """One message whose final dot was read; `is_accepted` once the server said 250."""

    mail_from: str
    rcpt_to: list[str]
    content: bytes  # with the dots un-stuffed
    raw: bytes = field(repr=False)  # as it came, final dot included
    is_accepted: bool = False


@dataclass
class Conversation:
    """One connection: every octet the client sent (in the clear, under TLS too) and its commands."""

    raw: bytearray = field(default_factory=bytearray)
    segments: list[bytes] = field(default_factory=list)  # the same, as it came
    commands: list[str] = field(default_factory=list)
    port: int = 0  # the client's
    is_silent: bool = False  # the server has nothing more to say
    is_encrypted: bool = False
    is_authenticated: bool = False
