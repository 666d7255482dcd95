"""How much memory one web process and its runner take with 10,000 messages queued, and while they are delivered.

.venv/bin/python bench/memory.py [--quick]
"""

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import figures
import load
import processes
import sink
import stage

CONNECTIONS = 4
SLOW_REPLY_SECONDS = 2.0
PATIENCE_SECONDS = 1800
CLAIM_MEGABYTES = 200
BODY = json.dumps({"template": "welcome", "to": "ada@example.com", "variables": stage.VARIABLES})


@contextmanager
def showing_progress(database: str) -> Iterator[None]:
    """Says every few seconds how far the queue is, until the block ends."""
    is_over = threading.Event()

    def show() -> None:
        while not is_over.wait(5):
            counted = ", ".join(f"{number} {status}" for status, number in stage.count_by_status(database).items())
            figures.tell(f"messages: {counted or 'none yet'}")

    watcher = threading.Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        figures.clear()


def report(pid: int, moment: str) -> float:
    """Print each process's peak so far, and its size with shared pages counted once; the peak of the web process."""
    peaks, shares = [], []
    for number, each in enumerate(processes.tree(pid)):
        peaks.append(processes.memory_megabytes(each, "VmHWM"))
        shares.append(processes.shared_megabytes(each))
        name = "gunicorn's arbiter" if number == 0 else "web and runner"
        print(f"{moment:18} {name:20} peak RSS {peaks[-1]:6.1f} MB   PSS now {shares[-1]:6.1f} MB")
    print(f"{moment:18} {'together':20} peak RSS {sum(peaks):6.1f} MB   PSS now {sum(shares):6.1f} MB\n", flush=True)
    return max(peaks[1:])


def wait_until_sent(database: str, count: int) -> float:
    """Seconds until every message is `sent`."""
    begun_at = time.monotonic()
    while stage.count_by_status(database) != {"sent": count}:
        if time.monotonic() - begun_at > PATIENCE_SECONDS:
            raise RuntimeError(f"Not all was sent in {PATIENCE_SECONDS} s: {stage.count_by_status(database)}.")
        time.sleep(1)
    return time.monotonic() - begun_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds with 200 messages")
    parser.add_argument("--messages", type=int, default=10_000, help="messages to queue (%(default)s)")
    options = parser.parse_args()
    count = 200 if options.quick else options.messages
    processes.end_politely_when_told()
    figures.introduce(f"memory: email-service run on SQLite, {count} messages over {CONNECTIONS} connections")
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        database, server = stage.sqlite(place), stack.enter_context(sink.running(place))
        variables = stage.environment(
            database, MAIL_SERVER="127.0.0.1", MAIL_PORT=str(server.port), MAIL_USE_TLS="false", MAIL_TIMEOUT="120"
        )
        api_key = stage.prepare(place, variables)
        server.ask(f"delay {SLOW_REPLY_SECONDS}")
        port = processes.free_port()
        process = stack.enter_context(processes.running(stage.run_command(port), folder=place, environment=variables))
        processes.wait_for_port(port, process)
        report(process.pid, "started")
        job = {"name": "memory", "port": port, "path": "/v1/messages", "body": BODY, "api_key": api_key, "status": 202}
        with showing_progress(database):
            seen = load.post(**job, requests=count, connections=CONNECTIONS)
        print(f"queued {count} in {seen['seconds']:.1f} s, {count / seen['seconds']:.0f}/s; the mail server is slow")
        queued = report(process.pid, f"{count} queued")
        server.ask("delay 0")
        with showing_progress(database):
            seconds = wait_until_sent(database, count)
        print(f"delivered them in {seconds:.1f} s, {count / seconds:.0f}/s")
        delivered = report(process.pid, f"{count} delivered")
        verdict = "kept" if max(queued, delivered) < CLAIM_MEGABYTES else "BROKEN"
        print(f"claim: under {CLAIM_MEGABYTES} MB for one web process and its runner: {verdict}")


if __name__ == "__main__":
    main()
