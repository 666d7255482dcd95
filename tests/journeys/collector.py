"""A collector of OpenTelemetry and a Sentry on loopback, which keep what comes. Knows nothing of its meaning."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_PROJECT = "1"  # of Sentry


@dataclass
class Collector:
    """Where it listens, and what came."""

    port: int
    spans: list[Any] = field(default_factory=list)
    crashes: list[dict[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        return f"http://key@127.0.0.1:{self.port}/{_PROJECT}"

    def take(self, path: str, body: bytes) -> int:
        """The status of the answer."""
        if path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in of_resource.scope_spans:
                    self.spans += scope.spans
        elif path == f"/api/{_PROJECT}/envelope/":
            # An envelope: its head, the head of its first item, and that item.
            self.crashes.append(json.loads(body.splitlines()[2]))
        else:
            return 404
        return 200


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self.send_response(collector.take(self.path, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()
