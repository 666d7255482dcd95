"""The things that the scripted server can do instead of its usual reply. They know how to write and when to end."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Step:
    """Say `text` as it stands; `is_last` hangs up afterwards."""

    text: str = ""
    is_last: bool = False
    is_silent: bool = False  # nothing is said from here on

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        write(self.text.encode("utf-8", "surrogateescape") + b"\r\n")


class Reply(Step):
    """An ordinary reply; several lines when the text has them."""


@dataclass(frozen=True)
class ReplyThenDrop(Step):
    """A reply, and the line goes dead."""

    is_last: bool = True


@dataclass(frozen=True)
class Drop(Step):
    """Hang up without a word; abruptly, with a reset instead of an orderly end."""

    is_last: bool = True
    is_abrupt: bool = False

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        """Nothing is said."""


@dataclass(frozen=True)
class Stall(Step):
    """Say nothing and stay, until the server is stopped."""

    is_last: bool = True
    is_silent: bool = True

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        is_stopping.wait(60)


@dataclass(frozen=True)
class Late(Step):
    """A reply after a pause."""

    pause_seconds: float = 0.15

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        is_stopping.wait(self.pause_seconds)
        super().perform(write, is_stopping)


@dataclass(frozen=True)
class Drip(Step):
    """Say the text one octet at a time."""

    pause_seconds: float = 1.0

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        for octet in self.text.encode() + b"\r\n":
            write(bytes([octet]))
            if is_stopping.wait(self.pause_seconds):
                return


@dataclass(frozen=True)
class Flood(Step):
    """Say the text, then `octets` more on the same line (or, with a `unit`, as lines without end)."""

    is_last: bool = True
    octets: int = 1_000_000_000
    unit: str = "x"

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        chunk = (self.unit * (65536 // len(self.unit))).encode()
        write(self.text.encode())
        for _ in range(self.octets // len(chunk)):
            if is_stopping.is_set():
                return
            write(chunk)


@dataclass(frozen=True)
class Raw(Step):
    """Say exactly these octets, line ends included."""

    def perform(self, write: Write, is_stopping: threading.Event) -> None:
        write(self.text.encode())
