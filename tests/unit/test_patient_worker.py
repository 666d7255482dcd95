"""What our gunicorn worker stands on inside gunicorn, and what it does without a server around it."""

import errno
import inspect
import os
import selectors
import socket
from contextlib import ExitStack

import pytest
import structlog
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.http.parser import Parser
from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from email_service.cli import patient_worker, refusals
from email_service.cli.patient_worker import PatientWorker
from email_service.kernel import clock
from tests.log_capture import captured_logs, parsed

OVERRIDDEN = {
    "_cap_keepalive": ["deadline"],
    "_keepalive_after": ["conn", "keepalive"],
    "accept": ["listener"],
    "enqueue_req": ["conn"],
    "finish_request": ["conn", "fs"],
    "handle_error": ["req", "client", "addr", "exc"],
    "handle_exit": ["sig", "frame"],
    "murder_pending": [],
    "set_accept_enabled": ["enabled"],
}


class ShortListener:
    """A listening socket of a process that has no descriptor left."""

    def accept(self):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.fixture
def worker():
    worker = PatientWorker(1, os.getpid(), [], None, 30, Config(), Logger(Config()))
    worker.poller = selectors.DefaultSelector()
    yield worker
    worker.poller.close()
    worker.tmp.close()


@pytest.fixture
def connected():
    """Connections as gunicorn makes them, each with its other side."""
    with ExitStack() as stack:

        def connect() -> tuple[TConn, socket.socket]:
            ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
            return TConn(Config(), ours, ("", 0), ("", 0)), theirs

        yield connect


def test_gunicorn_still_calls_what_is_overridden():
    ours = {name for name in vars(PatientWorker) if name in dir(ThreadWorker) and not name.startswith("__")}
    assert ours == set(OVERRIDDEN)
    for name, parameters in OVERRIDDEN.items():
        assert list(inspect.signature(getattr(ThreadWorker, name)).parameters) == ["self", *parameters], name
        assert list(inspect.signature(getattr(PatientWorker, name)).parameters) == ["self", *parameters], name


def test_gunicorn_still_has_what_is_used(worker):
    assert {"poller", "method_queue", "nr_conns", "alive"} <= set(vars(worker))
    assert {"initialized", "data_ready", "sock", "parser"} <= set(TConn.__init__.__code__.co_names)
    assert "deadline" in inspect.signature(Parser.finish_body).parameters
    assert "buf" in vars(Unreader())
    assert "_cap_keepalive" in ThreadWorker.run.__code__.co_names
    assert "murder_pending" in ThreadWorker.run.__code__.co_names


def test_a_shortage_of_descriptors_ends_no_worker_and_is_told_once(worker):
    """T28"""
    with captured_logs() as stream:
        for _ in range(3):
            worker.accept(ShortListener())
            worker.set_accept_enabled(True)
            assert not worker._accepting
    assert [line["event"] for line in parsed(stream)] == ["descriptors.exhausted"]


def test_a_stop_waits_for_partings_and_not_for_requests_that_never_come(worker, connected):
    """F15"""
    (arriving, client), (parting, reader) = connected(), connected()
    worker.nr_conns = 2
    now = clock.monotonic_seconds()
    worker._look(arriving, now + 15, seen=-1)
    worker._part(parting)
    worker.alive = False
    worker._cap_keepalive(now)
    worker.murder_pending()
    assert (arriving.sock.fileno(), worker.nr_conns) == (-1, 1)
    assert client.recv(1) == b""
    assert parting.sock.fileno() != -1
    reader.close()
    worker.wait_for_and_dispatch_events(1)
    assert (parting.sock.fileno(), worker.nr_conns) == (-1, 0)


def test_a_thread_reads_no_body_forever(worker, connected):
    """T28: each octet may come in time, and the whole never."""
    conn, client = connected()
    conn.sock.setblocking(True)
    conn.sock.settimeout(5)
    worker._served[conn] = clock.monotonic_seconds() - 1
    worker.murder_pending()
    assert conn.sock.recv(1) == b""
    conn.sock.sendall(b"answer")
    assert client.recv(10) == b"answer"
    assert not worker._served


def test_what_was_answered_before_it_came_is_taken_and_thrown_away(worker, connected):
    """T28: closed before, the connection would be reset, and the answer lost to whoever reads it after sending."""
    conn, client = connected()
    worker.nr_conns = 1
    conn.sock.sendall(b"answer")
    worker._part(conn)
    piece = b" " * patient_worker._PIECE_OCTETS
    for _ in range(64):
        client.sendall(piece)
        worker.wait_for_and_dispatch_events(1)
        worker.wait_for_and_dispatch_events(0)
    assert client.recv(10) == b"answer"
    client.close()
    for _ in range(64):
        worker.wait_for_and_dispatch_events(0)
    assert (conn.sock.fileno(), worker.nr_conns) == (-1, 0)


@pytest.mark.parametrize(
    ("bound", "value"), [("UNLOADING_OCTETS", 3), ("UNLOADING_SECONDS", 0.0), ("PARTING_SECONDS", 0.0)]
)
def test_nobody_sends_on_forever_after_the_answer(worker, connected, monkeypatch, bound, value):
    """T28: neither much, nor steadily, nor nothing at all."""
    conn, client = connected()
    worker.nr_conns = 1
    monkeypatch.setattr(patient_worker, bound, value)
    worker._part(conn)
    if bound != "PARTING_SECONDS":
        client.sendall(b"more")
        worker.wait_for_and_dispatch_events(1)
    worker.murder_pending()
    assert (conn.sock.fileno(), worker.nr_conns) == (-1, 0)


def test_an_end_of_the_process_is_told_before_the_answers_are_out(worker):
    """F15"""
    worker.method_queue.init()
    told = []
    worker.on_stop = lambda: told.append(worker.alive)
    worker.handle_exit(15, None)
    worker.handle_exit(15, None)
    worker.method_queue.run_callbacks(None)
    worker.method_queue.close()
    assert told == [False]


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_each_of_gunicorns_errors_has_an_answer_that_repeats_nothing(kind):
    """T27, T29"""
    if not issubclass(kind, errors.ParseException):
        return
    error = kind.__new__(kind)
    error.__dict__.update(dict.fromkeys(("info", "req", "method", "size", "hdr"), "ada@example.com"))
    with captured_logs() as stream, structlog.contextvars.bound_contextvars(client="who came before"):
        written = refusals.answer(error)
    assert written.startswith(b"HTTP/1.1 ")
    assert b"application/problem+json" in written
    assert b"ada@example.com" not in written
    [line] = parsed(stream)
    assert "client" not in line
    assert line["event"] in {"request.refused", "request.failed"}
