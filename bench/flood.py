"""How fast the sink is by itself: connections that only repeat one ready-made pipelined group and read the replies.

.venv/bin/python bench/flood.py [--quick]
"""

import argparse
import multiprocessing
import selectors
import socket
from contextlib import ExitStack

import figures
import processes
import sink
import stage

_BODY_OCTETS = 7500
_ENVELOPE = b"MAIL FROM:<bench@example.com>\r\nRCPT TO:<reader@example.com>\r\nDATA\r\n"


def pour(port: int, connections: int, count: int) -> None:
    """`count` messages over these connections, each with the next one's envelope behind it."""
    content = b"Subject: flood\r\nMessage-ID: <%d.%d@example.com>\r\n\r\n" + b"x" * _BODY_OCTETS + b"\r\n.\r\n"
    begun = ended = 0
    with selectors.DefaultSelector() as selector:
        lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        for words in (b"EHLO flood\r\n", _ENVELOPE):
            for line in lines:
                line.recv(1000)
                line.sendall(words)
        for line in lines:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(line, selectors.EVENT_READ)
        while ended < count:
            for key, _ in selector.select():
                said = key.fileobj.recv(1000)
                ended += b" Taken" in said
                if b"354" in said and begun < count:
                    begun += 1
                    key.fileobj.sendall(content % (id(selector), begun) + _ENVELOPE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a second or two")
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that each reply takes")
    options = parser.parse_args()
    count = 5_000 if options.quick else 50_000
    processes.end_politely_when_told()
    figures.introduce(f"flood: {count} messages over {options.connections} connections into the sink")
    with ExitStack() as stack:
        server = stack.enter_context(sink.running(stack.enter_context(stage.folder())))
        server.ask(f"delay {options.delay}")
        cpu_before = server.cpu_seconds()
        sender = multiprocessing.Process(target=pour, args=(server.port, options.connections, count))
        sender.start()
        while sender.is_alive():
            sender.join(1)
            figures.tell(f"{server.ask('report')['messages']} of {count}")
        taken = server.ask("report")
        figures.clear()
        assert sender.exitcode == 0
        assert taken["messages"] == count, f"{count} were sent and the sink took {taken['messages']}"
        rate = count / (taken["last_at"] - taken["first_at"])
        cpu = (server.cpu_seconds() - cpu_before) / count * 1e6
        if options.delay:
            print(f"the wire's limit is {options.connections / options.delay:.0f}/s")
        print(f"the sink takes {rate:.0f}/s and {cpu:.0f} microseconds of CPU a message of {_BODY_OCTETS} octets")
        print(
            f"{taken['groups'] / count:.2f} replies in one piece for each message, {taken['connections']} connections"
        )


if __name__ == "__main__":
    main()
