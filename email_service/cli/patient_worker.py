"""gunicorn's thread worker, for which a slow connection costs a socket instead of a thread (T28).

A request is handed to a thread when it has arrived; only a large or chunked body is read by the thread itself. Knows of
HTTP where a head ends and how long the body says it is, and nothing else.
"""

import errno
import re
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from selectors import EVENT_READ
from typing import Any

import structlog
from gunicorn.workers.gthread import ThreadWorker

from email_service.cli import refusals
from email_service.kernel import clock

ARRIVAL_SECONDS = 15.0  # for the head, and for the body too where we wait for it
STALL_SECONDS = 15  # for each read of a body that a thread reads
READING_SECONDS = 60.0  # for all reads together, however steadily the body trickles
SHORTAGE_SECONDS = 0.5  # without accepting, after the process ran out of descriptors
UNWANTED_SECONDS = 0.01  # to see whether the body that the answer did not need is here already
PARTING_SECONDS = 2.0  # of silence, for the other side to take the answer before we close (RFC 9112 9.6)
UNLOADING_SECONDS = 15.0  # for a body that was answered before it came; many callers send it first and listen then
UNLOADING_OCTETS = 64 * 1024**2
WHOLE_OCTETS = 32_768  # a request up to this size is waited for; it fits into the kernel's buffer
_PIECE_OCTETS = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_NO_DESCRIPTOR_LEFT = (errno.EMFILE, errno.ENFILE)
_log = structlog.get_logger(__name__)


class PatientWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Waits for requests and for partings in the poller, so that the threads only ever meet those who are ready."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections, and until when: those whose request is on its way, those whose answer is, those with a thread.
        self._arriving: dict[Any, float] = {}
        self._parting: dict[Any, float] = {}
        self._served: dict[Any, float] = {}
        self._next_look_at = 0.0
        self._accept_again_at = 0.0
        self._is_short_of_descriptors = False
        self.on_stop: Callable[[], None] = lambda: None  # called when the worker is told to stop, before it drains

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop; what else the process does is told to stop at the same time, not after the last answer."""
        if self.alive:
            super().handle_exit(sig, frame)
            # In the loop and not in the signal's handler, which may have interrupted whoever holds a lock.
            self.method_queue.defer(self.on_stop)

    def accept(self, listener: Any) -> None:
        """Take a connection; when there is no descriptor for it, leave it in the queue until the loop's next turn."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR_LEFT:
                raise
            # The queue stays readable, so without a pause the loop would spin.
            self._accept_again_at = clock.monotonic_seconds() + SHORTAGE_SECONDS
            self.set_accept_enabled(enabled=False)
            if not self._is_short_of_descriptors:
                _log.warning("descriptors.exhausted", connections=self.nr_conns)
            self._is_short_of_descriptors = True

    def set_accept_enabled(self, enabled: bool) -> None:
        """As gunicorn does, but not before a shortage of descriptors may be over."""
        if not enabled or clock.monotonic_seconds() >= self._accept_again_at:
            super().set_accept_enabled(enabled)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what never reached the application as the application would; gunicorn would write a page of html."""
        del req, addr
        with suppress(OSError):
            client.sendall(refusals.answer(exc))

    def enqueue_req(self, conn: Any) -> None:
        """Serve the connection's next request once it is there; gunicorn calls this when there may be something."""
        if not conn.initialized:
            limit = struct.pack("ll", STALL_SECONDS, 0)
            _set(conn, socket.SO_RCVTIMEO, limit)
            _set(conn, socket.SO_SNDTIMEO, limit)
        self._look(conn, clock.monotonic_seconds() + ARRIVAL_SECONDS, seen=-1)

    def finish_request(self, conn: Any, fs: "Future[Any]") -> None:
        """As gunicorn does, except that nobody's parting holds up the others."""
        self._served.pop(conn, None)
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
        else:
            self._part(conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        # gunicorn would have a thread read on for five seconds, for a body that nobody wanted.
        until = clock.monotonic_seconds() + UNWANTED_SECONDS
        return keepalive and bool(conn.parser.finish_body(deadline=until))

    def murder_pending(self) -> None:
        """Close what took too long, and end the bodies that threads have read for too long."""
        super().murder_pending()
        now = clock.monotonic_seconds()
        if now >= self._next_look_at:
            self._next_look_at = now + 1
            for waiting in (self._arriving, self._parting):
                for conn in [conn for conn, until in waiting.items() if until <= now]:
                    self._drop(conn, waiting)
            for conn in [conn for conn, until in self._served.items() if until <= now]:
                del self._served[conn]
                # The thread meets the end of the body and can still answer.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

    def _cap_keepalive(self, deadline: float) -> None:
        # gunicorn calls this once, when it stops; a request that is on its way gets as long as an idle connection.
        super()._cap_keepalive(deadline)
        for conn, until in self._arriving.items():
            self._arriving[conn] = min(until, deadline)

    def _look(self, conn: Any, until: float, seen: int) -> None:
        held = conn.parser.unreader.buf.getvalue() if conn.parser else b""
        conn.sock.setblocking(False)
        try:
            octets = conn.sock.recv(WHOLE_OCTETS, socket.MSG_PEEK)
        except BlockingIOError:
            octets = None
        except OSError:
            octets = b""
        here = len(octets or b"")
        missing = _count_missing(held + (octets or b""))
        # Woken and nothing new: the other side has closed, which the parser finds out by itself.
        if octets == b"" or here == seen or not missing:
            _set(conn, socket.SO_RCVLOWAT, 1)
            conn.data_ready = True
            self._served[conn] = clock.monotonic_seconds() + READING_SECONDS
            super().enqueue_req(conn)
        elif here + len(held) >= WHOLE_OCTETS:
            with suppress(OSError):
                conn.sock.send(refusals.answer(refusals.HEAD_TOO_LARGE))
            self._part(conn)
        else:
            # Without this mark, what has already come would wake us again and again.
            _set(conn, socket.SO_RCVLOWAT, here + missing)
            self._wait(self._arriving, conn, until, lambda: self._look(conn, until, here))

    def _part(self, conn: Any) -> None:
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            _set(conn, socket.SO_RCVLOWAT, 1)
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        self._await_parting(conn, clock.monotonic_seconds() + UNLOADING_SECONDS, UNLOADING_OCTETS)

    def _await_parting(self, conn: Any, until: float, left: int) -> None:
        """Take what still comes, for closing with something unread would take the answer back."""

        def drain() -> None:
            try:
                count = len(conn.sock.recv(_PIECE_OCTETS))
            except OSError:
                count = 0
            if 0 < count < left:
                self._await_parting(conn, until, left - count)
            else:
                self.nr_conns -= 1
                conn.close()

        self._wait(self._parting, conn, min(until, clock.monotonic_seconds() + PARTING_SECONDS), drain)

    def _wait(self, waiting: dict[Any, float], conn: Any, until: float, go_on: Callable[[], None]) -> None:
        waiting[conn] = until

        def wake(sock: socket.socket) -> None:
            self.poller.unregister(sock)
            del waiting[conn]
            go_on()

        self.poller.register(conn.sock, EVENT_READ, wake)

    def _drop(self, conn: Any, waiting: dict[Any, float]) -> None:
        del waiting[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _set(conn: Any, option: int, value: int | bytes) -> None:
    with suppress(OSError):  # some systems refuse when the other side is gone, which the next read finds out
        conn.sock.setsockopt(socket.SOL_SOCKET, option, value)


def _count_missing(octets: bytes) -> int:
    """How many octets have to come at least before a thread can do something with this request."""
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return 1
    head = octets[: end + 2]
    length = _LENGTH.search(head)
    if length is None or b"\r\nexpect:" in head.lower():
        return 0
    total = end + 4 + int(length[1])
    # A larger body is the thread's to read, or to refuse before it comes.
    return 0 if total > WHOLE_OCTETS else max(0, total - len(octets))
