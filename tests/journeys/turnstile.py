"""A TCP proxy before a server: passes everything on, until it is told to keep back what the server answers.

Knows no protocol; a few octets that somebody names are the sign after which it closes.
"""

import socket
import threading
from contextlib import suppress
from typing import Self


class Turnstile:
    """After `hold`, no answer returns to whoever sends the sign, though the sign arrives; `held` says when one did."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._is_open = threading.Event()
        self._is_open.set()
        self._sign = b""
        self._is_lost = False
        self.held = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hold(self, sign: bytes) -> None:
        self._sign = sign
        self._is_lost = False
        self.held.clear()
        self._is_open.clear()

    def release(self) -> None:
        self._is_open.set()

    def drop(self) -> None:
        """Let everybody through again, and hang up on those who wait: what they were answered is lost."""
        self._is_lost = True
        self._is_open.set()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=[near], daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, 20)
        except OSError:
            near.close()
            return
        is_waiting = threading.Event()
        for sock in (near, far):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pass_back, args=[far, near, is_waiting], daemon=True).start()
        with suppress(OSError):
            while octets := near.recv(65536):
                if not self._is_open.is_set() and self._sign in octets:
                    is_waiting.set()
                    self.held.set()
                far.sendall(octets)
        _end(near, far)

    def _pass_back(self, far: socket.socket, near: socket.socket, is_waiting: threading.Event) -> None:
        with suppress(OSError):
            while octets := far.recv(65536):
                if is_waiting.is_set():
                    self._is_open.wait(60)
                    is_waiting.clear()
                    if self._is_lost:
                        break
                near.sendall(octets)
        _end(near, far)


def _end(*sockets: socket.socket) -> None:
    for sock in sockets:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
