"""A load balancer as its callers see it: passes each call to the next instance whose `/readyz` answers 200.

Repeats nothing: a call that comes to an instance which ends is a failed call. Knows no call but `/readyz`.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any, Self

PAUSE_SECONDS = 0.2
MOST_BAD_LOOKS = 2  # in a row; then nobody is sent there any more
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What an instance said."""

    place: str  # which one
    status: int
    body: Any


@dataclass
class Balancer:
    """Instances by their names; `ports` says where they listen, `ready` which of them are asked."""

    api_key: str
    ports: dict[str, int] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._turns = count()
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._watcher.join(TIMEOUT_SECONDS)

    def put_in(self, place: str, port: int) -> None:
        """Ask it from the moment on at which it says that it is ready."""
        with self._lock:
            self.ports[place] = port

    def take_out(self, place: str) -> None:
        """No new connection from here on; those that there are go on."""
        with self._lock:
            self.ports.pop(place, None)
            self.ready.discard(place)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> Answer:
        place, connection = self._connect()
        try:
            headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json", **headers}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(place, response.status, json.loads(response.read() or b"null"))
        finally:
            connection.close()

    def _connect(self) -> tuple[str, HTTPConnection]:
        with self._lock:
            places = sorted(self.ready)
            assert places, "no instance is ready"
            place = places[next(self._turns) % len(places)]
            connection = HTTPConnection("127.0.0.1", self.ports[place], timeout=TIMEOUT_SECONDS)
            connection.connect()
        return place, connection

    def _watch(self) -> None:
        bad_looks: Counter[str] = Counter()
        while not self._is_over.wait(PAUSE_SECONDS):
            for place, port in list(self.ports.items()):
                bad_looks[place] = 0 if look(port)[0] == 200 else bad_looks[place] + 1
                with self._lock:
                    if place in self.ports and not bad_looks[place]:
                        self.ready.add(place)
                    elif bad_looks[place] >= MOST_BAD_LOOKS:
                        self.ready.discard(place)


def look(port: int) -> tuple[int, dict[str, Any]]:
    """What `/readyz` says there: its status (0: nobody answers) and its document."""
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    return 0, {}


def wait_until_ready(balancer: Balancer, place: str, seconds: float = 60) -> None:
    ends_at = time.monotonic() + seconds
    while place not in balancer.ready:
        assert time.monotonic() < ends_at, f"{place} is not ready within {seconds} seconds"
        time.sleep(PAUSE_SECONDS / 4)
