"""The topology of compose.yaml as plain processes of this machine: two web processes, two workers and a beat.

make topology    or    .venv/bin/python bench/topology.py [--broker URL] [--port 8000]

PostgreSQL and Redis are those that the tests find or start (tests/servers.py); the database is new and is dropped at
the end. RabbitMQ is used when `--broker amqp://...` names one. Mail is captured unless the environment has MAIL_SERVER.
"""

import argparse
import os
import secrets
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

import processes
import stage

_CREW = {"worker-1": ("worker",), "worker-2": ("worker",), "beat": ("beat",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--broker", help="instead of the Redis that is found, such as amqp://guest:guest@127.0.0.1//")
    options = parser.parse_args()
    processes.end_politely_when_told()
    is_over = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: is_over.set())
    with ExitStack() as stack:
        place = stack.enter_context(stage.folder())
        redis = stack.enter_context(stage.redis())
        variables = {
            **os.environ,
            "DATABASE_URL": stack.enter_context(stage.postgres()),
            "REDIS_URL": redis,
            "CELERY_BROKER_URL": options.broker or redis,
            "SECRET_KEY": secrets.token_urlsafe(32),
        }
        api_key = stage.prepare(place, variables)
        crew = {"web": ("run", "--port", str(options.port), "--workers", "2"), **_CREW}

        def start(name: str) -> subprocess.Popen[str]:
            folder = place / name
            folder.mkdir(exist_ok=True)
            # A folder for each, where it leaves its sign of life for `email-service health`.
            surroundings = {**variables, "TMPDIR": str(folder)}
            command = stage.command(*crew[name])
            return stack.enter_context(processes.running(command, folder=folder, environment=surroundings))

        running = {name: start(name) for name in crew}
        processes.wait_for_port(options.port, running["web"])
        _tell(f"http://127.0.0.1:{options.port}", api_key, place, {name: each.pid for name, each in running.items()})
        while not is_over.wait(1):
            for name in [name for name, process in running.items() if process.poll() is not None]:
                code = running[name].returncode
                running[name] = start(name)
                print(f"{name} ended with {code} and is started again as process {running[name].pid}.", flush=True)
        print("Stopping...", flush=True)


def _tell(url: str, api_key: str, place: Path, pids: dict[str, int]) -> None:
    body = '{"template": "welcome", "to": "ada@example.com", "variables": {"name": "Ada"}}'
    print(f"\nemail-service at {url}; Ctrl-C ends everything, and whatever is killed is started again")
    for name, pid in pids.items():
        print(f"  {name:<10} process {pid:<8} log in {place / name}")
    print("\n  Send a first message:")
    headers = f"-H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json'"
    print(f"  curl -sS {url}/v1/messages {headers} -d '{body}'")
    print(f"\n  What became of it: {url}/inbox; how all is: {url}/readyz", flush=True)


if __name__ == "__main__":
    main()
