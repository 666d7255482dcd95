"""What arrived at a mail server, counted by Message-ID; and the steps of a server that picks the worst moment."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from tests.wire.server import SmtpServer
from tests.wire.steps import Step, Write


def smtp_settings(server: SmtpServer, **settings: str) -> dict[str, str]:
    """What points an installation at this server, in the clear unless told otherwise."""
    host, port = server.address
    sender = "Acme <mail@acme.example>"
    return {"MAIL_SERVER": host, "MAIL_PORT": str(port), "MAIL_DEFAULT_SENDER": sender, **settings}


def copies(server: SmtpServer) -> Counter[str]:
    """How many copies of each Message-ID the server took responsibility for."""
    taken = [message_from_bytes(received.content, policy=policy.default) for received in server.messages]
    return Counter(str(message["Message-ID"]) for message in taken)


def ids(messages: Iterable[dict[str, Any]]) -> set[str]:
    return {message["message_id_header"] for message in messages}


@dataclass(frozen=True)
class Strike(Step):
    """Say the text, if there is one, and do the deed before the other side can act on it."""

    deed: Callable[[], None] = field(default=lambda: None)

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        if self.text:
            super().perform(write, is_stopping)
        self.deed()


@dataclass(frozen=True)
class Hold(Step):
    """Say that the moment has come, and answer when told to."""

    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        self.reached.set()
        self.released.wait(30)
        super().perform(write, is_stopping)
