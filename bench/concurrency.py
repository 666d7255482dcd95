"""What a process pays for its connections: the same pipelined dialogue by threads, by one selector loop and by asyncio.

.venv/bin/python bench/concurrency.py [--quick]

Each message costs some Python work before it is sent, as rendering does; the sink's replies come at once or late.
"""

import argparse
import asyncio
import multiprocessing
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import figures
import processes
import sink
import stage

CONTENT = b"Subject: x\r\nMessage-ID: <%d.%d@example.com>\r\n\r\n" + (b"y" * 76 + b"\r\n") * 105
ENVELOPE = b"MAIL FROM:<bench@example.com>\r\nRCPT TO:<reader@example.com>\r\nDATA\r\n"
DOT = b".\r\n"


class Work:
    """The messages that are left, and what each of them costs before it can be sent."""

    def __init__(self, count: int, turns: int) -> None:
        self._left, self._turns = count, turns
        self._lock = threading.Lock()

    def take(self) -> int | None:
        with self._lock:
            self._left -= 1
            return self._left if self._left >= 0 else None

    def make(self, number: int) -> bytes:
        total = 0
        for turn in range(self._turns):
            total += turn
        return CONTENT % (number, id(self))


def greet(port: int) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = line.makefile("rb")
    reader.readline()
    line.sendall(b"EHLO bench\r\n")
    while reader.readline()[3:4] == b"-":
        pass
    reader.detach()
    return line


def by_threads(lines: Sequence[socket.socket], work: Work) -> None:
    def serve(line: socket.socket) -> None:
        received = 0
        number = work.take()
        if number is None:
            return
        line.sendall(ENVELOPE)
        content, expected = work.make(number), 3
        while True:
            while received < expected:
                received += line.recv(4096).count(b"\n")
            received -= expected
            if content is None:
                return
            number = work.take()
            line.sendall(content + DOT + (b"" if number is None else ENVELOPE))
            content, expected = (None, 1) if number is None else (work.make(number), 4)

    threads = [threading.Thread(target=serve, args=[line]) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def by_selector(lines: Sequence[socket.socket], work: Work) -> None:
    with selectors.DefaultSelector() as selector:
        for line in lines:
            if (number := work.take()) is not None:
                line.sendall(ENVELOPE)
                selector.register(line, selectors.EVENT_READ, [work.make(number), 3, 0])
        while selector.get_map():
            for key, _ in selector.select():
                state = key.data
                state[2] += key.fileobj.recv(4096).count(b"\n")
                if state[2] < state[1]:
                    continue
                if state[0] is None:
                    selector.unregister(key.fileobj)
                    continue
                number = work.take()
                key.fileobj.sendall(state[0] + DOT + (b"" if number is None else ENVELOPE))
                state[:] = (None, 1, 0) if number is None else (work.make(number), 4, 0)


def by_asyncio(lines: Sequence[socket.socket], work: Work) -> None:
    async def serve(line: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=line)
        number = work.take()
        if number is None:
            return
        writer.write(ENVELOPE)
        content, expected = work.make(number), 3
        while True:
            for _ in range(expected):
                await reader.readline()
            if content is None:
                writer.close()
                return
            number = work.take()
            writer.write(content + DOT + (b"" if number is None else ENVELOPE))
            content, expected = (None, 1) if number is None else (work.make(number), 4)

    async def serve_all() -> None:
        await asyncio.gather(*(serve(line) for line in lines))

    asyncio.run(serve_all())


WAYS: dict[str, Callable[[Sequence[socket.socket], Work], None]] = {
    "threads": by_threads,
    "selectors": by_selector,
    "asyncio streams": by_asyncio,
}


def run(way: str, port: int, connections: int, size: tuple[int, int], told: "multiprocessing.Queue[float]") -> None:
    count, turns = size
    lines = [greet(port) for _ in range(connections)]
    begun_at = time.monotonic()
    WAYS[way](lines, Work(count, turns))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told.put(count / (time.monotonic() - begun_at))
    told.put((usage.ru_utime + usage.ru_stime) / count * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    options = parser.parse_args()
    count = 2_000 if options.quick else 20_000
    processes.end_politely_when_told()
    figures.introduce(f"concurrency: {count} messages of 8 kB, one process, pipelined")
    with ExitStack() as stack:
        server = stack.enter_context(sink.running(stack.enter_context(stage.folder())))
        for connections, delay_seconds, turns in ((16, 0.0, 0), (16, 0.0, 4000), (64, 0.05, 4000)):
            messages = count // 4 if delay_seconds else count
            server.ask(f"delay {delay_seconds}")
            print(
                f"{connections} connections, {delay_seconds * 1000:.0f} ms a reply, {turns} turns of a loop a message"
            )
            for way in WAYS:
                figures.tell(way)
                told: multiprocessing.Queue[float] = multiprocessing.Queue()
                sender = multiprocessing.Process(
                    target=run, args=(way, server.port, connections, (messages, turns), told)
                )
                sender.start()
                sender.join()
                figures.clear()
                print(f"  {way:16} {told.get():6.0f}/s  CPU {told.get():.3f} ms a message")


if __name__ == "__main__":
    main()
