"""A server on loopback that answers what a test wrote down, one answer after the other, and keeps what it was sent.

For what the service itself does not do on demand: proxies, faults, lies. Knows no pytest.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int = 200
    content: bytes = b"{}"
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    is_lost: bool = False  # the connection ends instead


@dataclass
class Stranger:
    """The last answer is given for ever."""

    answers: list[Answer]
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def take(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def keys(self) -> list[str | None]:
        return [headers.get("idempotency-key") for _, headers, _ in self.requests]


def problem(code: str, status: int, **headers: str) -> Answer:
    members = f'"type": "urn:problem:{code}", "title": "T", "detail": "D", "request_id": "r", "status": {status}'
    content = f'{{"code": "{code}", {members}}}'.encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, content, "application/problem+json", told)


@contextmanager
def answering(*answers: Answer) -> Iterator[Stranger]:
    stranger = Stranger(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stranger.requests.append((f"{self.command} {self.path}", headers, content))
            told = stranger.take()
            self.close_connection = True
            if told.is_lost:
                return
            self.send_response(told.status)
            for name, value in {"Content-Type": told.content_type, **told.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(told.content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815 - as http.server calls them

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        stranger.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stranger
        finally:
            server.shutdown()
            thread.join(10)
