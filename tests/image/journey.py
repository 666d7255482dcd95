"""What the image has to be able to do, step by step: alone on SQLite, then on PostgreSQL, then with Celery as well.

Needs podman and the image's name, and prints a line for each step. A failed step ends its journey, not the others.
"""

# ruff: noqa: T201 - a script answers with what it prints: a line for each step

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from os import environ
from pathlib import Path
from secrets import token_hex, token_urlsafe
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from container import HARDENED, Container, free_port, podman, wait_until

USER = "10001"
POSTGRES_PORT, REDIS_PORT = 5432, 6379
STOPPED_WITHIN_SECONDS = 15
SHOWN_WITHIN_SECONDS = 5.0
WELL_WITHIN_SECONDS = 30.0
WELCOME = {"template": "welcome", "variables": {"name": "Ada"}}
MUST_HAVE_SERVERS = environ.get("CI", "").lower() not in {"", "0", "false"}


class StepFailedError(Exception):
    """A step failed, and its line has been printed."""


class Steps:
    """The count, and the line that is printed for each step."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except (AssertionError, LookupError, OSError, ValueError) as error:
            self.failed += 1
            print(f"FAILED  {title}: {error or type(error).__name__}", flush=True)
            raise StepFailedError from error
        self.passed += 1
        print(f"passed  {title} ({time.monotonic() - began:.1f} s)", flush=True)

    def missing(self, title: str) -> None:
        self.failed += MUST_HAVE_SERVERS
        print(f"{'FAILED ' if MUST_HAVE_SERVERS else 'skipped'} {title}", flush=True)


def run_python(image: str, source: str, *arguments: str) -> str:
    """What this Python prints when the image runs it."""
    done = podman("run", "--rm", *HARDENED, "--entrypoint=python", image, "-I", "-c", source, *arguments)
    assert done.returncode == 0, done.stderr.strip()
    return done.stdout.strip()


def run_command(image: str, options: list[str], *command: str) -> str:
    """What this `email-service` command prints."""
    done = podman("run", "--rm", *HARDENED, *options, image, *command)
    assert done.returncode == 0, done.stderr.strip()
    return done.stdout.strip()


def send(container: Container, api_key: str) -> None:
    address = f"ada-{token_hex(4)}@example.com"
    status, answer = container.call("/v1/messages", api_key, {**WELCOME, "to": address})
    assert status == 202, f"{status} {answer}"

    def shown() -> Any:
        return container.call(f"/inbox/messages?to={address}")[1]["data"]

    wait_until(shown, SHOWN_WITHIN_SECONDS, f"the mail to {address} in the inbox")


def assert_stops(container: Container) -> None:
    code, seconds = container.stop(STOPPED_WITHIN_SECONDS)
    assert code == 0, f"exit code {code} after {seconds:.1f} s"


def assert_has_no_rights(container: Container) -> None:
    processes = list(container.processes())
    assert len(processes) > 1, "only process 1 was found"
    for process in processes:
        assert set(process["Uid"].split()) == {USER}, f"{process['Name']} runs as {process['Uid']}"
        assert int(process["CapEff"], 16) == 0, f"{process['Name']} has capabilities {process['CapEff']}"
        assert process["NoNewPrivs"] == "1", f"{process['Name']} may gain privileges"


def assert_writes_only_its_data(container: Container) -> None:
    for folder, is_writable in {"/": 0, "/srv": 0, "/opt/venv": 0, "/srv/var": 1, "/tmp": 1}.items():
        written = (
            container.execute("sh", "-c", f"touch {folder}/probe 2>/dev/null && rm {folder}/probe").returncode == 0
        )
        assert written == bool(is_writable), f"{folder} is {'' if written else 'not '}writable"


def see_what_is_inside(steps: Steps, image: str) -> None:
    size, base = (
        int(podman("image", "inspect", "--format", "{{.Size}}", name).stdout) for name in (image, sys.argv[2])
    )
    title = (
        f"the image has {size / 1e6:.0f} MB, {(size - base) / 1e6:.0f} of them over its base, and holds no build tools"
    )
    with steps.step(title):
        inventory = (Path(__file__).parent / "inventory.py").read_text()
        report = json.loads(run_python(image, inventory))
        assert report == {"unneeded": [], "missing": [], "leftovers": [], "uncompiled": 0}, report


def live_alone(steps: Steps, image: str, cleanup: ExitStack) -> None:
    volume, port = f"email-service-test-{token_hex(4)}", free_port()
    cleanup.callback(podman, "volume", "rm", "--force", volume)
    options = [f"--volume={volume}:/srv/var"]
    command = [] if port == 8000 else ["run", "--host", "0.0.0.0", "--port", str(port)]
    with steps.step(f"alone: it becomes healthy, read-only, on port {port}"):
        container = Container(image, options, command, port)
        cleanup.callback(container.remove)
        container.wait_until_healthy()
    with steps.step(f"alone: every process is user {USER}, without capabilities"):
        assert_has_no_rights(container)
    with steps.step("alone: only /srv/var and /tmp are writable"):
        assert_writes_only_its_data(container)
    with steps.step("alone: the log shows an API key"):
        found = re.search(r"esk_\w{12}_[\w-]{43}", container.logs())
        assert found, container.logs()
        api_key = found.group()
    with steps.step("alone: a message is taken with 202 and shown in the inbox"):
        send(container, api_key)
    with steps.step(f"alone: SIGTERM ends it with 0 within {STOPPED_WITHIN_SECONDS} s"):
        assert_stops(container)
    with steps.step("alone: a new container on the same volume knows the key and shows no other"):
        successor = Container(image, options, command, port)
        cleanup.callback(successor.remove)
        successor.wait_until_healthy()
        send(successor, api_key)
        assert "esk_" not in successor.logs().replace(api_key, ""), "a second API key was made"
        assert_stops(successor)


@contextmanager
def own_database(image: str, server: str) -> Iterator[str]:
    """A new database on the server, over a client inside the image."""
    execute = (
        "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True, connect_timeout=2).execute(sys.argv[2])"
    )
    name = f"email_service_image_{token_hex(4)}"
    run_python(image, execute, server, f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        run_python(image, execute, server, f"DROP DATABASE {name} WITH (FORCE)")


def mount_secrets(cleanup: ExitStack, database_url: str) -> list[str]:
    """Options that give both secrets as files, with the rights that docs/operations.md gives them."""
    folder = Path(cleanup.enter_context(TemporaryDirectory()))
    options = []
    for name, value in {"database_url": database_url, "secret_key": token_urlsafe(32)}.items():
        (folder / name).write_text(f"{value}\n")
        (folder / name).chmod(0o444)
        options += [
            f"--volume={folder / name}:/run/secrets/{name}:ro",
            f"--env={name.upper()}_FILE=/run/secrets/{name}",
        ]
    return [*options, "--tmpfs=/srv/var"]


def live_on_postgres(steps: Steps, image: str, cleanup: ExitStack) -> tuple[list[str], str] | None:
    """The options that give a container this database, and an API key in it; None without a server."""
    server = environ.get("TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
    if not is_listening(server):
        steps.missing(f"PostgreSQL: nothing listens at {urlsplit(server).hostname}; start one or set TEST_DATABASE_URL")
        return None
    with steps.step("PostgreSQL: `migrate` makes the tables, and again changes nothing"):
        server = server.replace("postgresql+psycopg:", "postgresql:")
        options = mount_secrets(cleanup, cleanup.enter_context(own_database(image, server)))
        for _ in range(2):
            run_command(image, options, "migrate")
    with steps.step("PostgreSQL: `client create` makes a key"):
        api_key = json.loads(run_command(image, options, "client", "create", "image", "--scope", "*", "--json"))[
            "api_key"
        ]
    with steps.step("PostgreSQL: two web processes deliver a message and end with 0"):
        serve_once(image, options, cleanup, api_key)
    return options, api_key


def serve_once(image: str, options: list[str], cleanup: ExitStack, api_key: str) -> None:
    port = free_port()
    container = Container(image, options, ["run", "--host", "0.0.0.0", "--port", str(port), "--workers", "2"], port)
    cleanup.callback(container.remove)
    container.wait_until_healthy()
    send(container, api_key)
    assert_stops(container)


def is_well(container: Container, role: str) -> bool:
    """As compose.yaml asks."""
    return container.execute("email-service", "health", role).returncode == 0


def live_with_celery(steps: Steps, image: str, cleanup: ExitStack, options: list[str], api_key: str) -> None:
    server = environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15")
    if not is_listening(server):
        steps.missing(f"Celery: nothing listens at {urlsplit(server).hostname}; start a Redis or set TEST_REDIS_URL")
        return
    options = [*options, f"--env=CELERY_BROKER_URL={server}", f"--env=REDIS_URL={server}"]
    redis = "import redis, sys; print(getattr(redis.from_url(sys.argv[1]), sys.argv[2])())"
    with steps.step("Celery: `worker` and `beat` connect to Redis, hardened in the same way"):
        assert run_python(image, redis, server, "dbsize") == "0", (
            f"{server} is in use; name an empty database in TEST_REDIS_URL"
        )
        cleanup.callback(run_python, image, redis, server, "flushdb")
        workers = {name: Container(image, options, [name]) for name in ("worker", "beat")}
        for each in workers.values():
            cleanup.callback(each.remove)
        for each in workers.values():
            each.wait_until_connected(urlsplit(server).port or REDIS_PORT)
            assert_has_no_rights(each)
    with steps.step("Celery: `health` finds both of them well, inside"):
        for name, each in workers.items():
            wait_until(partial(is_well, each, name), WELL_WITHIN_SECONDS, f"a healthy {name}")
    with steps.step("Celery: what `run` takes, the worker delivers"):
        serve_once(image, options, cleanup, api_key)
    with steps.step(f"Celery: SIGTERM ends both with 0 within {STOPPED_WITHIN_SECONDS} s"):
        for each in workers.values():
            assert_stops(each)


def live_distributed(steps: Steps, image: str, cleanup: ExitStack) -> None:
    if found := live_on_postgres(steps, image, cleanup):
        live_with_celery(steps, image, cleanup, *found)


def is_listening(url: str) -> bool:
    parts = urlsplit(url)
    default = REDIS_PORT if parts.scheme.startswith("redis") else POSTGRES_PORT
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default), timeout=2).close()
    except OSError:
        return False
    return True


def attempt(journey: Callable[[ExitStack], Any]) -> None:
    """Go on this journey as far as it leads, and remove what it made."""
    with suppress(StepFailedError), ExitStack() as cleanup:
        journey(cleanup)


def main() -> None:
    image, steps = sys.argv[1], Steps()
    attempt(lambda _: see_what_is_inside(steps, image))
    attempt(lambda cleanup: live_alone(steps, image, cleanup))
    attempt(lambda cleanup: live_distributed(steps, image, cleanup))
    print(f"image: {steps.passed} passed, {steps.failed} failed")
    sys.exit(steps.failed > 0)


main()
