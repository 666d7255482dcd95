"""SpamAssassin's local tests, asked about many mails at once. Knows no template, and starts no server."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

# What this machine has learned of other mail must not count, and what others think of a sender is asked of no network.
_SETTINGS = ("use_bayes 0", "use_auto_welcomelist 0", "dns_available no")
_SEPARATOR = b"From gallery@acme.example Sat Nov 21 08:30:00 2026\n"
_VERDICT = re.compile(r"score=(?P<score>-?[\d.]+) required=\S+ tests=(?P<tests>[\w,\s]+) autolearn=")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sum of the points of all tests that a mail has met; mail with 5.0 counts as spam."""

    score: float
    tests: str


def find() -> str | None:
    return shutil.which("spamassassin")


def judge(program: str, mails: Iterable[bytes], home: Path) -> dict[str, Verdict]:
    """A verdict for each mail by its Message-ID. One process reads the rules once for all."""
    box = b"".join(_SEPARATOR + mail.replace(b"\r\n", b"\n") + b"\n" for mail in mails)
    rules = [f"--cf={each}" for each in _SETTINGS]
    judged = subprocess.run(
        [program, "--local", "--mbox", "--nocreate-prefs", *rules],
        input=box,
        capture_output=True,
        check=True,
        timeout=280,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    written = [message_from_bytes(each, policy=policy.default) for each in judged.stdout.split(_SEPARATOR)[1:]]
    return {message["Message-ID"]: _read(message["X-Spam-Status"]) for message in written}


def _read(status: str) -> Verdict:
    found = _VERDICT.search(" ".join(status.split()))
    assert found, status
    return Verdict(float(found["score"]), found["tests"].replace(" ", ""))
