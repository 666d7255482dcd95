"""A body that comes slowly holds up nobody else."""

import io
import json
import sqlite3

from tests.applications import WELCOME

LOCK_SECONDS = 10  # whoever held the lock while the body comes would hold it for longer than any of this


class SlowBody(io.BytesIO):
    """A body during whose reading somebody else writes to the same SQLite database."""

    def __init__(self, content: bytes, path: str) -> None:
        super().__init__(content)
        self.path = path
        self.wrote = 0

    def read(self, size: int | None = -1, /) -> bytes:
        other = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        other.close()
        self.wrote += 1
        return super().read(size)

    def readinto(self, buffer) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def test_others_can_write_while_a_body_is_still_coming(api):
    """T28"""
    assert api.send().status_code == 202  # the key's first use is written down apart, so the second call is the test
    content = json.dumps(WELCOME).encode()
    body = SlowBody(content, api.house.parts.sessions.kw["bind"].url.database)
    answer = api.post(api.path, input_stream=body, content_type="application/json", content_length=len(content))
    assert answer.status_code == 202, answer.json
    assert body.wrote > 0
