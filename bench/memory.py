"""How much memory a worker with 64 connections takes through 50,000 messages, and one process that does everything.

.venv/bin/python bench/memory.py [--quick] [--part worker|single ...]
"""

import argparse
import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import figures
import fleet
import load
import processes
import sink
import stage

PARTS = ("worker", "single")
CONNECTIONS = 64
DELAY_SECONDS = 0.05  # of each reply, so that all connections are busy at the same time
WORKER_MEGABYTES, SINGLE_MEGABYTES = 250, 200
PATIENCE_SECONDS = 1800
BODY = json.dumps({"template": "welcome", "to": "ada@example.com", "variables": stage.VARIABLES})


def watch(server: sink.Handle, process: subprocess.Popen[str], count: int) -> float:
    """Print the size of the process at every tenth of the messages, and return its peak at the end."""
    begun_at, next_share = time.monotonic(), 1
    while (seen := int(server.ask("report")["messages"])) < count or next_share <= 10:
        if process.poll() is not None or time.monotonic() > begun_at + PATIENCE_SECONDS:
            raise RuntimeError(f"Only {seen} of {count} messages arrived.")
        if seen >= count * next_share // 10:
            peak, now = (processes.memory_megabytes(process.pid, each) for each in ("VmHWM", "VmRSS"))
            print(f"{seen:6} delivered   RSS {now:6.1f} MB   peak {peak:6.1f} MB", flush=True)
            next_share = seen * 10 // count + 1
        figures.tell(f"delivered: {seen} of {count}")
        time.sleep(0.2)
    figures.clear()
    return processes.memory_megabytes(process.pid, "VmHWM")


def measure_worker(stack: ExitStack, place: Path, server: sink.Handle, count: int) -> None:
    print(f"\nA Celery worker with {CONNECTIONS} connections on PostgreSQL, {count} messages, each reply 50 ms late")
    database, broker = stack.enter_context(stage.postgres()), stack.enter_context(stage.redis())
    house = fleet.Installation(place, database, server, {"CELERY_BROKER_URL": broker})
    queued = stage.queue(database, count)
    server.ask("reset")
    server.ask(f"delay {DELAY_SECONDS}")
    with fleet.Fleet(house, CONNECTIONS, [fleet.ALL_LANES]).working() as (worker,):
        watch(server, worker, count)
        house.wait_until_sent(count)
        peak = processes.memory_megabytes(worker.pid, "VmHWM")
        taken = server.ask("report")
    house.check(queued)
    server.ask("delay 0")
    print(f"{taken['connections']} connections, {count / (taken['last_at'] - taken['first_at']):.0f}/s; none lost")
    judge("the worker", peak, WORKER_MEGABYTES)


def measure_single(place: Path, server: sink.Handle, count: int) -> None:
    """Messages come over HTTP while the mail server holds its breath; then all are delivered."""
    print(f"\nemail-service run on SQLite, {count} messages over HTTP while the mail server is silent")
    house = fleet.Installation(place, stage.sqlite(place), server, {"MAIL_TIMEOUT": "600"})
    server.ask("hold")
    server.ask("reset")
    with house.serving(1) as (port, process):
        figures.tell(f"posting {count} messages")
        job = {
            "name": "memory",
            "port": port,
            "path": "/v1/messages",
            "body": BODY,
            "api_key": house.api_key,
            "status": 202,
        }
        load.post(**job, requests=count, connections=4)
        report("queued", process.pid)
        server.ask("go")
        until = time.monotonic() + PATIENCE_SECONDS
        while (seen := server.ask("report")["messages"]) < count and time.monotonic() < until:
            figures.tell(f"delivered: {seen} of {count}")
            time.sleep(1)
        house.wait_until_sent(count)
        judge("the web process and its runner", report("delivered", process.pid), SINGLE_MEGABYTES)


def report(moment: str, arbiter: int) -> float:
    """Print each process's peak, and its size with shared pages counted once; the highest peak but the arbiter's."""
    figures.clear()
    peaks = {}
    for pid in processes.tree(arbiter):
        peaks[pid] = processes.memory_megabytes(pid, "VmHWM")
        name = "gunicorn's arbiter" if pid == arbiter else "web and runner"
        print(
            f"{moment:10} {name:20} peak RSS {peaks[pid]:6.1f} MB   PSS now {processes.shared_megabytes(pid):6.1f} MB"
        )
    return max(peak for pid, peak in peaks.items() if pid != arbiter)


def judge(name: str, peak: float, most: int) -> None:
    print(f"{name} peaked at {peak:.0f} MB; at most {most}: {'kept' if peak < most else 'BROKEN'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run with 1,000 and 200 messages")
    parser.add_argument("--messages", type=int, default=50_000, help="messages for the worker (%(default)s)")
    parser.add_argument("--posted", type=int, default=2_000, help="messages for the single process (%(default)s)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be given more than once")
    options = parser.parse_args()
    count, posted = (1000, 200) if options.quick else (options.messages, options.posted)
    processes.end_politely_when_told()
    figures.introduce("memory: the peak of each process, as the kernel saw it")
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        server = stack.enter_context(sink.running(place))
        if "worker" in (options.part or PARTS):
            measure_worker(stack, place, server, count)
        if "single" in (options.part or PARTS):
            measure_single(place, server, posted)


if __name__ == "__main__":
    main()
