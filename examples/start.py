"""Starts the email service and the main app together, in `var/example/`: `make example`.

Knows processes and ports; what either of them does is its own. Ctrl-C ends both.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Self

EXAMPLES = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
SCOPES = ("messages:send", "accounts:write", "tokens:issue", "tokens:verify", "sessions:issue")
CLIENT = "main-app"
START_SECONDS = 40
STOP_SECONDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="of the email service")
    parser.add_argument("--app-port", type=int, default=8080, help="of the main app")
    parser.add_argument("--folder", type=Path, default=Path("var/example"), help="where both keep their data")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    service, app = (f"http://127.0.0.1:{port}" for port in (options.port, options.app_port))
    surroundings = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder / 'email_service.db'}",
        "FRONTEND_URL": app,
        "PUBLIC_URL": service,
        # The main app passes its readers' addresses on, so that the service counts by reader and not by main app.
        "TRUSTED_PROXY_COUNT": "1",
        "LOG_FORMAT": os.environ.get("LOG_FORMAT", "human"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")])),
        "MAIN_APP_URL": app,
        "MAIN_APP_DATABASE": str(folder / "main_app.db"),
        "EMAIL_SERVICE_URL": service,
    }
    surroundings["EMAIL_API_KEY"] = key_of_app(folder, surroundings)
    served = [str(PROGRAMS / "email-service"), "run", "--port", str(options.port)]
    bound = [
        str(PROGRAMS / "gunicorn"),
        "--bind",
        f"127.0.0.1:{options.app_port}",
        "--threads",
        "8",
        "--no-control-socket",
        "main_app.app:serve()",
    ]
    # An init system's way of saying Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        running = [stack.enter_context(Running(command, surroundings)) for command in (served, bound)]
        await_all(running, f"{service}/healthz", f"{app}/login")
        print(f"\n  main app        {app}\n  its mail        {service}/inbox\n  Ctrl-C ends both.\n", flush=True)
        while all(each.process.poll() is None for each in running):
            time.sleep(0.2)


class Running:
    """A process that ends with its block."""

    def __init__(self, command: list[str], surroundings: dict[str, str]) -> None:
        self.process = subprocess.Popen(command, env=surroundings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Ctrl-C reached it as well; a second signal does no harm.
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()


def key_of_app(folder: Path, surroundings: dict[str, str]) -> str:
    """The API key of the main app; made at the first start, and kept beside the database that knows its hash."""
    kept = folder / "api_key"
    if not kept.exists():
        ask(surroundings, "migrate")
        scopes = [word for scope in SCOPES for word in ("--scope", scope)]
        told = ask(surroundings, "client", "create", CLIENT, *scopes, "--json")
        kept.touch(mode=0o600)
        kept.write_text(json.loads(told)["api_key"], encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def ask(surroundings: dict[str, str], *words: str) -> str:
    """What a command of the service prints."""
    command = [str(PROGRAMS / "email-service"), *words]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def await_all(running: list[Running], *urls: str) -> None:
    ends_at = time.monotonic() + START_SECONDS
    for url in urls:
        while not answers(url):
            if time.monotonic() > ends_at or any(each.process.poll() is not None for each in running):
                sys.exit(f"Nothing answers at {url}; what went wrong stands above.")
            time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
