"""Child processes of a benchmark: started in their own group, always ended, and asked for their CPU time and memory.

Knows Linux's /proc and nothing about mail.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 70
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None, is_asked: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """The process while the block lasts. What it says goes to a file in `folder`; `is_asked` opens pipes to talk."""
    log_path = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
    pipe = subprocess.PIPE if is_asked else None
    with log_path.open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment) if environment is not None else None,
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:  # bare re-raise: nothing may be left running, whatever ended us
        print(f"\n{' '.join(command)} said:\n{_tail(log_path)}", file=sys.stderr)
        raise
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End it politely, and its whole group by force if that takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def end_politely_when_told() -> None:
    """SIGTERM unwinds this process like an exception, so that every `finally` cleans up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"The process ended with {process.returncode} before it listened on {port}.")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"Nothing listens on {port} after {START_SECONDS} s.")


def tree(pid: int) -> list[int]:
    """The process and all below it, the parent first."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # one that has ended in between has no children any more
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """What the process and all below it have used so far, in user and system mode; ended ones once they are reaped."""
    total = 0
    for each in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def memory_megabytes(pid: int, field: str) -> float:
    """`VmHWM` (the peak) or `VmRSS` (now) of one process, in units of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024 / 1e6
    raise ValueError(f"/proc has no {field} for {pid}.")


def shared_megabytes(pid: int) -> float:
    """The process's memory with every shared page divided among those who share it (PSS), right now."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"/proc has no Pss for {pid}.")


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])
