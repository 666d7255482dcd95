"""A main app on loopback that tells who exists, with the faults that a test asks of it; every request is kept.

Knows no pytest.
"""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a-secret-that-both-sides-know-0123456789"
JSON = "application/json"


@dataclass
class MainApp:
    """What it knows, how it answers, and what it was asked."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)  # by subject
    status: int | None = None  # instead of 200 and 404
    content: bytes | None = None  # instead of the person
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    pause: Callable[[], object] = lambda: None  # before it answers
    drip: bool = False  # one octet at a time, with a pause before each
    asked: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/internal/accounts"

    @property
    def variables(self) -> dict[str, str]:
        """The settings of a service that asks here."""
        return {
            "ACCOUNT_DIRECTORY": "http",
            "ACCOUNT_DIRECTORY_URL": self.url,
            "ACCOUNT_DIRECTORY_SECRET": SECRET,
            "ACCOUNT_DIRECTORY_PRIVATE_HOSTS": "127.0.0.1",
        }

    def find(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if "subject" in asked:
            return self.people.get(asked["subject"])
        emails = {person["email"].lower(): person for person in self.people.values()}
        return emails.get(asked["email"].lower())

    def answer(self, content: bytes) -> tuple[int, bytes]:
        asked = json.loads(content)
        self.asked.append(asked)
        self.pause()
        person = self.find(asked)
        told = json.dumps(person or {"error": "nobody"}).encode()
        return self.status or (200 if person else 404), told if self.content is None else self.content


def is_signed(headers: dict[str, str], content: bytes, key: bytes = SECRET.encode()) -> bool:
    """Whether the request was signed under this key, as the Standard Webhooks specification says."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


@contextmanager
def running(app: MainApp) -> Iterator[MainApp]:
    """The app, served until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            app.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, content))
            status, told = app.answer(content)
            head = [f"HTTP/1.1 {status} X", f"Content-Type: {app.content_type}", f"Content-Length: {len(told)}"]
            head += [f"{name}: {value}" for name, value in app.headers.items()]
            whole = "\r\n".join([*head, "", ""]).encode() + told
            try:
                for part in [bytes([octet]) for octet in whole] if app.drip else [whole]:
                    if app.drip:
                        app.pause()
                    self.wfile.write(part)
            except OSError:
                pass  # the asker had enough
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        app.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield app
        finally:
            server.shutdown()
            thread.join(10)
